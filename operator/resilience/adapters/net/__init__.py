"""Requests over the network: addresses that may be asked, HTTP, credentials, and the meaning of failures."""
