"""Health checks at run time: scheduling, measured usage, Sentinels, and measuring requests."""
