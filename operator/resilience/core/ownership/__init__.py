"""Ownership: marks and managed fields in the objects of others, and handing a workload back as its user had it."""
