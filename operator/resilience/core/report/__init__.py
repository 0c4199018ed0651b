"""The report of a pass: conditions, phase, health, objectives, Events and figures."""
