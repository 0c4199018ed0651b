"""The operator's own HTTP endpoints: health, readiness and metrics."""
