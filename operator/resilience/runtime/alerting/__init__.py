"""Alerts at run time: the index of what fires, the workers of the receivers, and their status."""
