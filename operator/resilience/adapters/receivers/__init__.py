"""Receivers of alerts: one module for each kind, over one common way to send."""
