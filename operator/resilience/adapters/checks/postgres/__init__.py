"""Checks of PostgreSQL."""
