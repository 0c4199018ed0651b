"""The values of a pass: the observation, the probes to send, the actions to take, and the status so far."""
