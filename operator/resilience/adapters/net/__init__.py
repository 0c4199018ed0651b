"""Requests over the network: permitted addresses, HTTP, credentials, and the meaning of failures."""
