"""Rollouts: a new template of the target, brought out blue-green or by a rolling update, and the ways back."""
