"""Replacement of pods without a lost request: the next step of every pod, and the guard that permits it."""
