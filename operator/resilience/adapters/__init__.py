"""All input and output, one port each. Adapters translate errors into those of `resilience.ports`."""
