"""Health checks: what they ask, how their results become states, and what amounts and ports in them mean."""
