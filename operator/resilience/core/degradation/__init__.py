"""Degradation: when flags turn on and off, how applications learn it, and dead letters that are put back."""
