"""Ownership: marks and managed fields in the objects of others, and giving a workload back as its user had it."""
