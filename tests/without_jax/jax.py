"""Stands in the way of JAX, see `conftest.py` of the repository."""

raise ImportError("Only the tests have JAX, and only for optax.")
