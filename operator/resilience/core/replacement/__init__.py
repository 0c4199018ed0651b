"""The replacement of pods without a lost request: what is next for each pod, and the guard that says what may be."""
