"""The later version of the operator that upgrades are tested with is still what it should be: different, and whole."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from tests.cluster import buildah
from tests.cluster.images import LATER, NGINX, OPERATOR, REDIS
from tests.cluster.later import later
from tests.support import versions
from tests.support.chart import PROJECT, helm


def test_its_changes_fit_the_sources(tmp_path: Path) -> None:
    package = tmp_path / "resilience"
    shutil.copytree(PROJECT / "operator/resilience", package)

    later.main(package)

    words = (package / "api/reasons.py").read_text()
    assert all(f'"{after}"' in words and f'"{before}"' not in words for after, before in versions.WORDS.items())


def test_its_chart_has_another_definition_and_other_settings(tmp_path: Path) -> None:
    chart = versions.later_chart(tmp_path)

    made = subprocess.run([helm(), "template", "x", str(chart), "--kube-version", "1.32.0"], capture_output=True)

    assert made.returncode == 0, made.stderr
    assert all(text in made.stdout for text in (b"- quieting", b"writtenBy", b"later_setting", b"0.2.0"))


def test_an_image_changes_with_the_one_that_it_is_made_from() -> None:
    alone = replace(LATER, base=None)

    digests = {buildah.digest_of(image) for image in (LATER, alone, replace(LATER, base=REDIS), OPERATOR, NGINX)}

    assert len(digests) == 5
