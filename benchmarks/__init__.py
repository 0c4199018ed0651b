"""Measurements, each with a command that makes it again; never part of a timed test."""
