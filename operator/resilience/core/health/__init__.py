"""Health checks: their probes, the folding of results into states, and the meaning of amounts and ports."""
