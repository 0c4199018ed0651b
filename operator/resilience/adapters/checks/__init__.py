"""Health checks over the network, one module for each protocol."""
