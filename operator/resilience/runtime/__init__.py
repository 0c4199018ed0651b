"""What moves the core: the queue, the observer, the executor and the check runner, over ports only."""
