"""Those who are told of alerts: one file for each kind, over one way to send."""
