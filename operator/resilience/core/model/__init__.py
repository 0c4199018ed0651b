"""The values of a pass: what was observed, what is asked of the network, what is to be done, and the status so far."""
