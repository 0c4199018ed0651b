"""`make demo`: the main job, shown to a person on a real cluster."""
