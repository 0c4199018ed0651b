"""Gives every test the `cluster` fixture; pytest wants plugins named at the top."""

pytest_plugins = ["tests.cluster.fixture"]
