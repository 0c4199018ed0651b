"""The commands of the pages: they can be parsed, name what exists, and can be typed a second time.

Those of `RUN` are run on a cluster by tests/e2e/test_documents.py.
"""

import re
import subprocess
from pathlib import Path

import pytest

from resilience.api import names
from tests.support.chart import CHART
from tests.support.pages import DOCS, PAGES, PROJECT, RUN, blocks, quoted

KNOWN = set(re.findall(r"`(resilience\.dev/[\w-]+)", (DOCS / "reference/labels.md").read_text()))
# A command of a `sh` block, of a session (`$ …`) or between words.
COMMANDS = re.compile(r"^(?:\$ )?(kubectl annotate .*)$", re.MULTILINE)


def title(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def typed(page: Path) -> str:
    """Everything on a page that a reader may type, lines that go on joined."""
    text = "\n".join([block.text for block in blocks(page)] + quoted(page.read_text()))
    return text.replace("\\\n", " ")


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_shell_can_parse_them(page: Path) -> None:
    for block in blocks(page, "sh"):
        parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, f"{block.text}\n{parsed.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_files_that_they_name_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/.])((?:examples|charts|monitoring)/[\w./-]+)", typed(page))
    assert [each for each in named if not (PROJECT / each).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_marks_that_they_name_exist(page: Path) -> None:
    named = {each.rstrip(".-") for each in re.findall(r"(?<![\w/.])resilience\.dev/[a-z][\w.-]*", typed(page))}
    versions = {f"{names.GROUP}/{names.VERSION}"}
    assert {each for each in named - versions if not any(each.startswith(known) for known in KNOWN)} == set()


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_request_can_be_made_a_second_time(page: Path) -> None:
    requests = [
        line for line in COMMANDS.findall(typed(page)) if re.search(r"-requested-at=|override\.|explain-", line)
    ]
    assert [line for line in requests if "--overwrite" not in line] == []


def test_every_request_is_a_command_on_some_page() -> None:
    lines = [line for page in PAGES for line in COMMANDS.findall(typed(page))]
    wanted = [each for each in KNOWN if each.endswith("-requested-at")]
    assert len(wanted) >= 6
    assert [each for each in wanted if not any(each in line for line in lines)] == []


@pytest.mark.parametrize("page", RUN, ids=title)
def test_what_is_run_can_be_run(page: Path) -> None:
    written = [block for block in blocks(page, "sh") if not block.not_run]
    assert written
    for block in written:
        assert re.search(r"\bdocker\b|\bkind\b(?!=)|--watch\b", block.text) is None, f"mark it as not run: {block.text}"
        assert "registry.example" not in block.text


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_mark_that_a_block_is_not_run_has_its_reason_and_its_block(page: Path) -> None:
    marks = len(re.findall(r"^<!-- not run", page.read_text(), re.MULTILINE))
    assert marks == sum(bool(block.not_run) for block in blocks(page, "sh"))
    assert not marks or page in RUN, "only these pages are run"


def test_helm_takes_the_image_that_the_pages_build() -> None:
    version = re.search(r'^appVersion: "?([\w.]+)', (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert version is not None
    built = {tag for page in PAGES for tag in re.findall(r"resilience-operator:(\d[\w.]*)", page.read_text())}
    assert built == {version[1]}
