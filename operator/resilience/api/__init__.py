"""The contract with users: the custom resources as pydantic models, and the generator of their CRDs."""
