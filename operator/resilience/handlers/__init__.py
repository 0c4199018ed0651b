"""The only importer of kopf: turns watch events into keys on the queue, and nothing else."""
