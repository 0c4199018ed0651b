"""Prometheus rules over the operator's metrics, generated into the chart; they know nothing of Kubernetes."""
