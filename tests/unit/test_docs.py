"""The documentation: generated parts are fresh, links lead somewhere, and what machines say is explained.

Must not judge style; it finds what a change of the code left behind.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from resilience.api import crd, names
from resilience.api.reasons import BlockReason, Phase, Reason, RefusalReason, RestartOutcome
from tests.support import reference

PROJECT = reference.PROJECT
DOCS = PROJECT / "docs"
EXAMPLES = sorted((PROJECT / "examples").rglob("*.yaml"))
PAGES = [PROJECT / "README.md", PROJECT / "examples/shop/README.md", *sorted(DOCS.rglob("*.md"))]
SOURCE = PROJECT / "operator/resilience"
MODELS = {kind.name: kind for kind in crd.KINDS}

FENCE = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
# What must not get into a page: unfinished work, and names of places that a reader does not have.
FORBIDDEN = ("TODO", "FIXME", "XXX", "/work/", "/root/")


def title(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """The anchors as GitHub makes them from headings."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(path)))
    return {each.strip().replace(" ", "-") for each in plain}


def manifests(path: Path) -> Iterator[dict[str, Any]]:
    page = path.read_text()
    for language, text in [("yaml", page)] if path.suffix == ".yaml" else FENCE.findall(page):
        if language == "yaml":
            yield from (each for each in yaml.safe_load_all(text) if each and each.get("kind") in MODELS)


def unknown(node: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """Fields that the schema does not have, and words that it does not allow."""
    if "enum" in node:
        return [] if value in node["enum"] else [f"{path}: {value}"]
    if "items" in node:
        return [found for each in value for found in unknown(node["items"], each, f"{path}[]")]
    if "properties" not in node:
        return []
    found = [f"{path}.{name}" for name in value if name not in node["properties"]]
    found += [f"{path}.{name} is missing" for name in node.get("required", ()) if name not in value]
    for name, part in node["properties"].items():
        found += unknown(part, value[name], f"{path}.{name}") if name in value else []
    return found


def test_generated_parts_are_fresh() -> None:
    assert reference.stale() == [], "run `python -m tests.support.reference`"


def test_a_stale_page_fails_the_check_and_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reference.BEGIN}\nold\n{reference.END}\nafter\n")
    monkeypatch.setattr(reference, "PROJECT", tmp_path)
    monkeypatch.setattr(reference, "PAGES", {page: lambda: "new"})
    assert reference.main(["--check"]) == 1
    assert "page.md is stale" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    assert page.read_text() == f"before\n{reference.BEGIN}\n\nnew\n\n{reference.END}\nafter\n"


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="needs the markers"):
        reference.renewed(page)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(PROJECT) and there.exists(), link
        assert not anchor or anchor in anchors(there), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_pages_are_finished_and_stand_alone(page: Path) -> None:
    text = page.read_text()
    assert [word for word in FORBIDDEN if word in text] == []
    assert text.startswith("# ") and text.endswith("\n") and text.count("```") % 2 == 0


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=title)
def test_manifests_are_valid(page: Path) -> None:
    for manifest in manifests(page):
        assert manifest["apiVersion"] == f"{names.GROUP}/{names.VERSION}"
        kind = MODELS[manifest["kind"]]
        assert unknown(crd.schema(kind)["properties"]["spec"], manifest["spec"], "spec") == []
        kind.model.model_validate(manifest)


def test_there_are_manifests_to_look_at() -> None:
    assert sum(1 for page in PAGES for _ in manifests(page)) >= 4


def test_the_index_knows_every_page() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(prose(DOCS / "index.md"))}
    assert [title(page) for page in DOCS.rglob("*.md") if page.name != "index.md" and page not in linked] == []


def test_every_word_that_a_person_may_meet_is_explained() -> None:
    troubleshooting = (DOCS / "operations/troubleshooting.md").read_text()
    words = [*Reason, *Phase, *RefusalReason, *BlockReason]
    assert [word for word in words if f"`{word}`" not in troubleshooting] == []


def test_every_reason_of_a_check_is_explained() -> None:
    page = (DOCS / "concepts/health.md").read_text()
    sources = "".join(path.read_text() for path in (SOURCE / "adapters").rglob("*.py"))
    found = re.findall(r'(?:_Meaning\(|reason=|Outcome\.\w+, |\n\s+)"([A-Z][a-z]+(?:[A-Z][a-z]+)+)"', sources)
    reasons = {each for each in found if not each.startswith("Grpc")}
    assert {"OwnLoopLagged", "ConnectionRefused", "NameNotFound", "AddressRefused"} <= reasons
    assert sorted(each for each in reasons if f"`{each}`" not in page) == []


def test_results_of_restarts_are_explained() -> None:
    page = (DOCS / "concepts/restarts.md").read_text()
    assert [each for each in RestartOutcome if f"`{each}`" not in page] == []


def test_every_mark_is_explained() -> None:
    page = (DOCS / "reference/labels.md").read_text()
    marks = [value for name, value in vars(names).items() if name.startswith(("LABEL", "ANNOTATION", "FINALIZER"))]
    assert len(marks) > 5
    assert [each for each in marks if f"`{each}`" not in page] == []


def test_every_right_is_explained() -> None:
    page = (DOCS / "concepts/security.md").read_text()
    helpers = (PROJECT / "charts/resilience-operator/templates/_helpers.tpl").read_text()
    granted = [each for found in re.findall(r"resources: \[([^]]+)\]", helpers) for each in found.split(", ")]
    assert len(granted) > 10
    assert [each for each in granted if f"`{each}`" not in page] == []


def test_every_value_of_the_chart_is_explained() -> None:
    page = (DOCS / "operations/install.md").read_text()
    values = yaml.safe_load((PROJECT / "charts/resilience-operator/values.yaml").read_text())
    assert [name for name in values if not re.search(rf"`{name}(\.\w+)?`", page)] == []


def test_pages_that_the_code_names_exist() -> None:
    named = {found for path in SOURCE.rglob("*.py") for found in re.findall(r"docs/[\w/-]+\.md", path.read_text())}
    assert named
    assert sorted(each for each in named if not (PROJECT / each).exists()) == []


def test_each_threat_names_a_test_that_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "concepts/threats.md").read_text())
    assert len(named) > 30
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (PROJECT / file).read_text()]
    assert missing == []
