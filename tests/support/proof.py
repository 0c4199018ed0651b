"""Writes the tables of docs/proof.md from the figures that the tests recorded: `python -m tests.support.proof`.

It adds nothing and rounds nothing up: a table contains what a line of the figures file contains. Tables of tests that
were not run again stay as they are.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

BEGIN: Final = "<!-- figures -->"
END: Final = "<!-- /figures -->"
_HEADING: Final = "### "
_HIDDEN: Final = ("test", "proof", "seconds")

Line = dict[str, Any]


def render(lines: list[Line]) -> dict[str, str]:
    """One table for each test, by its heading; a test with parameters has a row for each of them."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[str(line["test"]).split("[")[0]].append(line)
    return dict(_table(name, rows) for name, rows in groups.items())


def merged(page: str, tables: dict[str, str]) -> str:
    """The page with these tables in place of those with the same heading; new ones go to the end."""
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    kept = {section.split("\n", 1)[0]: section.split("\n", 1)[1].strip() for section in old.split(_HEADING)[1:]}
    text = "\n\n".join(f"{_HEADING}{heading}\n\n{table}" for heading, table in (kept | tables).items())
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _table(name: str, rows: list[Line]) -> tuple[str, str]:
    file, _, test = name.partition("::")
    columns = ["case", *dict.fromkeys(key for row in rows for key in row if key not in _HIDDEN), "seconds"]
    cells = [[_case(row), *(_cell(row.get(key)) for key in columns[1:])] for row in rows]
    if not any(row[0] for row in cells):
        columns, cells = columns[1:], [row[1:] for row in cells]
    title = test.removeprefix("test_").replace("_", " ")
    table = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(row) for row in cells)]
    body = f"{_extent(rows)}\n\n" + "\n".join(f"| {line} |" for line in table)
    return f"{title[0].upper()}{title[1:]} (`{file}`)", body


def _extent(rows: list[Line]) -> str:
    """Kind of the counts, and the number of requests of clients."""
    counts = "Full counts" if all(row["proof"] for row in rows) else "Small counts"
    sent = sum(int(row.get("sent", 0)) for row in rows)
    return f"{counts}, " + f"{sent:,}".replace(",", " ") + " requests of clients" if sent else counts


def _case(row: Line) -> str:
    _, bracket, rest = str(row["test"]).partition("[")
    return rest.removesuffix("]") if bracket else ""


def _cell(value: object) -> str:
    if isinstance(value, list):
        numbers = [number for number in value if isinstance(number, int | float)]
        if numbers and len(numbers) == len(value) and len(value) > 3:
            ranked = sorted(numbers)
            return f"{len(ranked)}: {ranked[0]} – {ranked[-1]}, median {ranked[len(ranked) // 2]}"
        return ", ".join(f"{text} × {times}" if times > 1 else text for text, times in Counter(map(str, value)).items())
    return "" if value is None else str(value)


def main(figures: Path, page: Path) -> None:
    """Writes the tables between the markers of the page."""
    lines = [json.loads(line) for line in figures.read_text().splitlines()]
    page.write_text(merged(page.read_text(), render(lines)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
