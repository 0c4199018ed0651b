"""Plugins of pytest: lanes for parallel runs, and a record of durations."""
