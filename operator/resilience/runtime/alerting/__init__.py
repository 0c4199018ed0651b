"""Alerts at run time: the index of firing alerts, the workers of the receivers, and the status of the receivers."""
