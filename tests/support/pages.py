"""The documentation as a reader's machine meets it: fenced blocks of commands, tables, samples of output.

Must not judge; tests do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = PROJECT / "docs"
PAGES: Final = (PROJECT / "README.md", PROJECT / "examples/shop/README.md", *sorted(DOCS.rglob("*.md")))
# Their commands run on the cluster, in order: tests/e2e/test_documents.py.
RUN: Final = (DOCS / "getting-started.md", *sorted((DOCS / "how-to").glob("*.md")))
_BLOCK: Final = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]*?) -->\n\n)?(?P<indent>[ ]*)```(?P<language>\w+)\n(?P<text>.*?)^[ ]*```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `not_run`: the reason for which its commands are not run by a test; empty when they are."""

    language: str
    text: str
    not_run: str


def blocks(page: Path, language: str = "") -> Iterator[Block]:
    """The blocks of a page in their order, or those of one language."""
    for found in _BLOCK.finditer(page.read_text()):
        indent = found["indent"]
        text = "".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        if language in ("", found["language"]):
            yield Block(found["language"], text, found["why"] or "")


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head.

    Raises ValueError when there is no such heading or table.
    """
    _, there, rest = page.read_text().partition(f"\n{heading}\n")
    table = re.search(r"^\|.*\n\| ?---.*\n((?:\|.*\n)+)", rest, re.MULTILINE)
    if not there or table is None:
        raise ValueError(f"{page}: no table below {heading!r}")
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in table[1].splitlines()]


def quoted(text: str) -> list[str]:
    """Everything that stands in backticks."""
    return re.findall(r"`([^`]+)`", text)
