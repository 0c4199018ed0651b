"""Alerts: what is wrong, whom it goes to, and what a receiver has to be told. Pure, as all of the core."""
