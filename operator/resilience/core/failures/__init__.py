"""What is wrong with pods that do not come up: a class of failure, its cause in words, and what helps."""
