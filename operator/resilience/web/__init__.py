"""HTTP endpoints of the operator: health, readiness, metrics and flags."""
