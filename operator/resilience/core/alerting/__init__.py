"""Alerts: the rules by which they fire, their receivers, and the notifications that are due. Pure, like all of core."""
