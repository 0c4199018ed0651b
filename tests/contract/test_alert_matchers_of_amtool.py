"""Matchers that Alertmanager's own tool reads, or refuses: ours are read and refused alike."""

import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from resilience.api import matchers
from tests.support import alertmanager
from tests.support.host import needs

pytestmark = needs(alertmanager.PROGRAM)

LABELS: Final = {"service": "pay.api", "check": 'a "b" \\ c', "severity": "critical", "path": "x\ny"}
# The classic parser reads these, and any Alertmanager has that one.
READ: Final = [
    r'service=~"pay\.api"',
    r'service=~"pay\\.api"',
    r"service=~pay\.api",
    r'service=~"pay\w"',
    r'check="a \"b\" \\ c"',
    r'check="a \"b\" \ c"',
    r'path="x\ny"',
    r'path="x\\ny"',
    "severity==critical",
    "severity = critical , service!=x,",
    '{severity="critical", check!="db"}',
    "absent=",
    "absent!=",
    "severity=critical}",
    "{severity=critical",
    'severity=~"crit"',
    "severity=~~",
    "a:b=x",
]
REFUSED: Final = ["severity", 'severity="critical', 'severity=critical"', 'severity="critical" x', ",", 'a=~"("']


def theirs(text: str, folder: Path) -> bool | None:
    """Alertmanager matches the labels; None when it refuses the matcher."""
    config = folder / "routes.yml"
    route = {"receiver": "default", "routes": [{"matchers": [text], "receiver": "one"}]}
    config.write_text(yaml.dump({"route": route, "receivers": [{"name": "default"}, {"name": "one"}]}))
    try:
        return alertmanager.route(config, LABELS) == ["one"]
    except subprocess.CalledProcessError:
        return None


def ours(text: str) -> bool | None:
    """The same by our reading."""
    try:
        return all(matcher.matches(LABELS) for matcher in matchers.parse(text))
    except ValueError:
        return None


@pytest.mark.parametrize("text", READ)
def test_what_alertmanager_reads_matches_alike(text: str, tmp_path: Path) -> None:
    known = theirs(text, tmp_path)

    assert known is not None
    assert ours(text) is known


@pytest.mark.parametrize("text", REFUSED)
def test_what_alertmanager_refuses_is_refused(text: str, tmp_path: Path) -> None:
    assert (theirs(text, tmp_path), ours(text)) == (None, None)
