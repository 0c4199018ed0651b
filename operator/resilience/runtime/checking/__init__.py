"""Health checks at run time: who is asked when, measured usage, Sentinels, and measuring requests."""
