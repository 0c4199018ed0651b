"""Rollouts bring out a new template of the target, blue-green or by a rolling update, and roll back a bad one."""
