"""Restarts: triggers, limits, the queue, and the life of a restart from request to result."""
