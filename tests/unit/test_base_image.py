"""The operator's image: its base can be chosen, and without a choice it is the one that offline builds make."""

from tests.cluster.buildah import BASE
from tests.cluster.images import OPERATOR


def test_the_base_is_a_build_argument() -> None:
    lines = OPERATOR.dockerfile.read_text(encoding="utf-8").splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert bases == {"${BASE}"}
    assert f"ARG BASE={BASE}" in lines
