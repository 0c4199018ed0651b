"""Gives every test the `cluster` fixture, lanes and durations; pytest wants plugins named at the top.

Hypothesis' `ci` profile makes each run try the same examples, and holds no test to a time of this machine. At full
counts the examples are other ones each time.
"""

from hypothesis import settings

from tests.support.counts import PROOF

pytest_plugins = ["tests.plugins.lanes", "tests.plugins.durations", "tests.cluster.fixture"]

settings.register_profile("proof", deadline=None)
settings.load_profile("proof" if PROOF else "ci")
