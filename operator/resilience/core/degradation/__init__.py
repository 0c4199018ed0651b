"""Degradation: transitions of the flags, their publication to applications, and the replay of dead letters."""
