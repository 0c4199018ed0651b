"""A small shop: the service that the demo and the end-to-end tests of the Resilience Operator keep available."""
