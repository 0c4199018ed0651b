"""A real Kubernetes cluster for this project: kind where a Docker engine answers, else a local node.

Nothing in here is part of the product: the operator must not import it, and it must not import the operator.
"""
