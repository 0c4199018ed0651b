"""Gives every test the `cluster` fixture, lanes and durations; pytest wants plugins named at the top."""

pytest_plugins = ["tests.plugins.lanes", "tests.plugins.durations", "tests.cluster.fixture"]
