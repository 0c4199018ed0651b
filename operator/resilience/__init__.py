"""The Resilience Operator: keeps Kubernetes services available. `app.py` wires it, `core/` decides."""

__version__ = "0.1.0"
