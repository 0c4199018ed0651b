"""Writes the tables of docs/proof.md from the figures that the tests wrote down: `python -m tests.support.proof`.

It adds nothing and rounds nothing up: a table holds what a line of the figures file holds.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

BEGIN: Final = "<!-- figures -->"
END: Final = "<!-- /figures -->"
_HIDDEN: Final = ("test", "proof", "seconds")

Line = dict[str, Any]


def render(lines: list[Line]) -> str:
    """One table for each test; a test with parameters has a row for each of them."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[str(line["test"]).split("[")[0]].append(line)
    sent = sum(int(line.get("sent", 0)) for line in lines)
    full = all(line["proof"] for line in lines)
    head = f"{'Full' if full else 'Small'} counts; {sent:,} requests of clients in all.".replace(",", " ")
    return "\n\n".join([head, *(_table(name, rows) for name, rows in groups.items())])


def _table(name: str, rows: list[Line]) -> str:
    file, _, test = name.partition("::")
    columns = ["case", *dict.fromkeys(key for row in rows for key in row if key not in _HIDDEN), "seconds"]
    cells = [[_case(row), *(_cell(row.get(key)) for key in columns[1:])] for row in rows]
    if not any(row[0] for row in cells):
        columns, cells = columns[1:], [row[1:] for row in cells]
    title = test.removeprefix("test_").replace("_", " ")
    table = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(row) for row in cells)]
    return f"### {title[0].upper()}{title[1:]}\n\n`{file}`\n\n" + "\n".join(f"| {line} |" for line in table)


def _case(row: Line) -> str:
    _, bracket, rest = str(row["test"]).partition("[")
    return rest.removesuffix("]") if bracket else ""


def _cell(value: object) -> str:
    if isinstance(value, list):
        numbers = [each for each in value if isinstance(each, int | float)]
        if numbers and len(numbers) == len(value) and len(value) > 3:
            ranked = sorted(numbers)
            return f"{len(ranked)}: {ranked[0]} – {ranked[-1]}, median {ranked[len(ranked) // 2]}"
        return ", ".join(str(each) for each in value)
    return "" if value is None else str(value)


def main(figures: Path, page: Path) -> None:
    """Puts the tables between the markers of the page."""
    lines = [json.loads(line) for line in figures.read_text().splitlines()]
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{render(lines)}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
