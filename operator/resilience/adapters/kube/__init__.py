"""The Kubernetes API. Only this package uses the client library and raw objects."""
