"""Diagnosis of pods that do not become ready: the class of failure, its cause in words, and advice."""
