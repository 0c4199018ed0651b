"""Restarts: what triggers one, what limits it, whose turn it is, and its life from request to result."""
