"""The list of the image's packages: complete, and in the form that scanners read."""

import json
import re

from resilience import __version__
from tests.support.chart import PROJECT
from tests.support.sbom import document, pins

LOCK = """\
aiohttp==3.14.5 \\
    --hash=sha256:00aa \\
    --hash=sha256:11bb
    # via resilience-operator (pyproject.toml)
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:22cc
Typing_Extensions==4.15.0 ; platform_system != "Windows"
"""


def test_what_is_not_installed_on_linux_is_left_out() -> None:
    assert list(pins(LOCK)) == [("aiohttp", "3.14.5"), ("typing-extensions", "4.15.0")]


def test_every_locked_package_is_named_with_its_version() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    made = json.loads(document(lock))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["version"] == __version__
    found = {component["purl"] for component in made["components"]}
    unconditional = re.findall(r"^([a-z0-9-]+)==([^\s;]+) \\$", lock, re.M)
    assert len(unconditional) > 20
    assert {f"pkg:pypi/{name}@{version}" for name, version in unconditional} <= found
    (root,) = [each for each in made["dependencies"] if each["ref"] == "resilience-operator"]
    assert set(root["dependsOn"]) == found
