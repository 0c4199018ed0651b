"""Drives the core over ports only: the queue, the observer, the executor and the check runner."""
