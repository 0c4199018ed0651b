"""Watch events become keys on the queue. Only this package imports kopf, and it does nothing else."""
