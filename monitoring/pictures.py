"""Pictures of the dashboards from what a real Prometheus has, for the docs: `python -m monitoring.pictures --help`.

It needs matplotlib (`pip install matplotlib`), which nothing else here does. It must not invent a value.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

from monitoring.__main__ import PAGES
from monitoring.expressions import filled
from monitoring.panel import Kind, Page, Panel, Query

_COLOURS: Final = {"green": "#56a64b", "orange": "#ff9830", "red": "#e02f44", "blue": "#3274d9", "gray": "#808080"}
_UNITS: Final = {"percentunit": (100.0, " %"), "bytes": (1 / 2**20, " MiB"), "s": (1.0, " s")}
_STEP: Final = 5
# A label that a series does not have is left out of its name.
_ABSENT: Final = re.compile(r"\{\{[a-z]+\}\}")
# Columns of Grafana's grid in inches, and lines.
_WIDE, _HIGH = 0.62, 0.46


def ask(url: str, path: str, **query: object) -> list[dict[str, Any]]:
    """The samples of a query's answer."""
    with urlopen(f"{url}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
        samples: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return samples


def legend(query: Query, labels: Mapping[str, str]) -> str:
    """The name of a series as Grafana writes it."""
    text = query.legend or ", ".join(value for name, value in labels.items() if name != "__name__")
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return _ABSENT.sub("", text).strip()


class Painter:
    """Draws the panels of one dashboard."""

    def __init__(self, plot: Any, url: str, minutes: float) -> None:
        self._plot, self._url = plot, url
        self._end = time.time()
        self._start = self._end - minutes * 60

    def page(self, page: Page, file: Path) -> None:
        """Draws one picture with all panels, at the positions that Grafana gives them."""
        placed, height = _placed(page)
        figure = self._plot.figure(figsize=(24 * _WIDE, height * _HIGH), dpi=70)
        for panel, x, y in placed:
            left, bottom = (x + 0.9) / 24, 1 - (y + panel.height - 1.4) / height
            axes = figure.add_axes((left, bottom, (panel.width - 1.4) / 24, (panel.height - 2.6) / height))
            axes.set_title(panel.title, fontsize=10, loc="left")
            self._panel(axes, panel)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
        self._plot.close(figure)

    def _panel(self, axes: Any, panel: Panel) -> None:
        match panel.kind:
            case Kind.STAT:
                self._stat(axes, panel)
            case Kind.TABLE:
                self._table(axes, panel)
            case Kind.TIMELINE:
                self._timeline(axes, panel)
            case Kind.SERIES:
                self._series(axes, panel)

    def _stat(self, axes: Any, panel: Panel) -> None:
        axes.axis("off")
        values = [
            (legend(query, sample["metric"]), float(sample["value"][1]))
            for query in panel.queries
            for sample in self._now(query)
        ]
        for number, (name, value) in enumerate(values):
            colour = _COLOURS[
                next(colour for limit, colour in reversed(panel.steps) if limit is None or value >= limit)
            ]
            x = (number + 0.5) / max(len(values), 1)
            axes.text(x, 0.5, _shown(value, panel.unit), fontsize=17, color=colour, ha="center", va="center")
            axes.text(x, 0.05, name if len(values) > 1 else "", fontsize=8, ha="center", color="#555555")

    def _series(self, axes: Any, panel: Panel) -> None:
        scale, unit = _UNITS.get(panel.unit, (1.0, ""))
        for query in panel.queries:
            for series in self._range(query):
                points = [(float(at) - self._end, float(value) * scale) for at, value in series["values"]]
                axes.plot(
                    [at / 60 for at, _ in points], [value for _, value in points], label=legend(query, series["metric"])
                )
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}{unit}")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} min")
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=5, loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.13), frameon=False)

    def _timeline(self, axes: Any, panel: Panel) -> None:
        names = []
        for query in panel.queries:
            for series in self._range(query):
                names.append(legend(query, series["metric"]))
                for at, value in series["values"]:
                    text, colour = panel.words.get(f"{float(value):g}", ("", "gray"))
                    bar = ((float(at) - self._end) / 60, _STEP / 60)
                    axes.broken_barh([bar], (len(names) - 1.4, 0.8), facecolors=_COLOURS[colour], label=text)
        axes.set_yticks([])
        axes.set_ylim(-0.5, max(len(names), 1))
        for number, name in enumerate(names):
            axes.text(0.01, number + 0.45, name, fontsize=8, transform=axes.get_yaxis_transform())
        axes.tick_params(axis="x", labelsize=7)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} min")
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.legend(handles.values(), handles.keys(), fontsize=7, loc="upper right", ncols=4)

    def _table(self, axes: Any, panel: Panel) -> None:
        rows: dict[tuple[str, str], dict[str, str]] = {}
        for letter, query in zip("ABCDEFGHI", panel.queries, strict=False):
            for sample in self._now(query):
                row = rows.setdefault((sample["metric"]["namespace"], sample["metric"]["name"]), dict(sample["metric"]))
                row.update(sample["metric"])
                row[f"Value #{letter}"] = sample["value"][1]
        axes.axis("off")
        cells = [[_cell(row.get(column.source, ""), column.unit) for column in panel.columns] for row in rows.values()]
        made = axes.table(
            cells or [[""] * len(panel.columns)],
            colLabels=[column.title for column in panel.columns],
            loc="upper center",
        )
        made.auto_set_font_size(False)
        made.set_fontsize(9)
        made.scale(1, 1.5)

    def _now(self, query: Query) -> list[dict[str, Any]]:
        return ask(self._url, "query", query=query.expression, time=self._end)

    def _range(self, query: Query) -> list[dict[str, Any]]:
        return ask(self._url, "query_range", query=query.expression, start=self._start, end=self._end, step=_STEP)


def _cell(text: str, unit: str) -> str:
    if unit == "string" or not text:
        return text
    return ("yes" if float(text) else "no") if unit == "bool_yes_no" else _shown(float(text), unit)


def _shown(value: float, unit: str) -> str:
    scale, word = _UNITS.get(unit, (1.0, ""))
    return f"{value * scale:.4g}{word}"


def _placed(page: Page) -> tuple[list[tuple[Panel, int, int]], int]:
    """Every panel with its position, and the total height."""
    placed, top = [], 0
    for row in page.rows:
        left, lowest = 0, top
        for panel in row.panels:
            if left + panel.width > 24:
                left, top = 0, lowest
            placed.append((panel, left, top))
            left, lowest = left + panel.width, max(lowest, top + panel.height)
        top = lowest
    return placed, top


def main(arguments: Sequence[str]) -> int:
    """Writes a picture for each dashboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", required=True, help="URL of a Prometheus that scrapes the operator")
    parser.add_argument("--namespace", default="shop")
    parser.add_argument("--service", default="shop")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--folder", type=Path, default=Path("docs/pictures"))
    chosen = parser.parse_args(arguments)
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    painter = Painter(pyplot, chosen.prometheus, chosen.minutes)
    for name, make in PAGES.items():
        page = filled(make(), namespace=chosen.namespace, service=chosen.service, rate="30s", span="10m")
        painter.page(page, chosen.folder / f"dashboard-{name}.png")
        sys.stdout.write(f"{chosen.folder / f'dashboard-{name}.png'} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
