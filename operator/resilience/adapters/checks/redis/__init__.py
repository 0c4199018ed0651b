"""Checks of Redis: a server, a Sentinel group, a cluster, and streams."""
