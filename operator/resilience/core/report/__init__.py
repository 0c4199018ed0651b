"""What a pass says: conditions, phase, health, objectives, Events and figures."""
