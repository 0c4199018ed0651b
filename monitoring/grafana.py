"""Dashboards in Grafana's form, by its own library: https://github.com/grafana/grafana-foundation-sdk."""

import json
from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.panel import Column, Kind, Page, Panel, Row, Variable

_SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG: Final = "resilience-operator"
# Letters by which Grafana names queries.
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROW_HEIGHT: Final = 1
_WIDE: Final = 24


def render(page: Page) -> str:
    """The JSON of a dashboard, always in the same order."""
    made = json.loads(json.dumps(_dashboard(page).build(), cls=JSONEncoder))
    for number, panel in enumerate(made["panels"], start=1):
        panel["id"] = number
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _dashboard(page: Page) -> dashboards.Dashboard:
    made = (
        dashboards.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags([_TAG])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboards.DashboardLink("Resilience")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in page.variables:
        made = made.with_variable(_variable(variable))
    top = 0
    for row in page.rows:
        made = made.with_row(dashboards.Row(row.title).grid_pos(_place(0, top, _WIDE, _ROW_HEIGHT)))
        top = _add(made, row, top + _ROW_HEIGHT)
    return made


def _add(made: dashboards.Dashboard, row: Row, top: int) -> int:
    """Puts the panels of a row side by side, in as many lines as they need; returns the top of the next row."""
    left, lowest = 0, top
    for panel in row.panels:
        if left + panel.width > _WIDE:
            left, top = 0, lowest
        made.with_panel(_panel(panel).grid_pos(_place(left, top, panel.width, panel.height)))
        left, lowest = left + panel.width, max(lowest, top + panel.height)
    return lowest


def _place(x: int, y: int, width: int, height: int) -> dashboard.GridPos:
    return dashboard.GridPos(h=height, w=width, x=x, y=y)


def _variable(variable: Variable) -> dashboards.QueryVariable:
    selector = variable.metric if "{" in variable.metric else f'{variable.metric}{{cluster=~"$cluster"}}'
    if variable.name == "cluster":
        selector = variable.metric
    made = (
        dashboards.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(_SOURCE)
        .query(f"label_values({selector}, {variable.label})")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
    if not variable.everything:
        return made
    everything = dashboard.VariableOption(selected=True, text="All", value="$__all")
    return made.include_all(True).all_value(".*").multi(True).current(everything)


def _panel(panel: Panel) -> Any:
    match panel.kind:
        case Kind.STAT:
            reduced = common_builders.ReduceDataOptions().calcs(["lastNotNull"])
            made: Any = stat.Panel().reduce_options(reduced).graph_mode(common.BigValueGraphMode.NONE)
        case Kind.TIMELINE:
            made = statetimeline.Panel().legend(_legend()).show_value(common.VisibilityMode.AUTO)
        case Kind.TABLE:
            made = _table(panel)
        case Kind.SERIES:
            made = _series(panel)
    made = made.title(panel.title).description(panel.description).unit(panel.unit).datasource(_SOURCE)
    made = made.thresholds(_steps(panel.steps))
    if panel.words:
        made = made.mappings([_words(panel.words)])
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expression).ref_id(letter).legend_format(query.legend or "__auto")
        if panel.kind is Kind.TABLE:
            target = target.instant().format(PromQueryFormat.TABLE)
        elif panel.kind is Kind.STAT:
            target = target.instant()
        else:
            target = target.range()
        made = made.with_target(target.datasource(_SOURCE))
    return made


def _series(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().legend(_legend()).fill_opacity(15 if panel.stacked else 5).min(0)
    if panel.stacked:
        made = made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    return made


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _steps(steps: Sequence[tuple[float | None, str]]) -> dashboards.ThresholdsConfig:
    made = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboards.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def _words(words: Any) -> dashboard.ValueMap:
    options = {
        value: dashboard.ValueMappingResult(text=text, color=colour, index=number)
        for number, (value, (text, colour)) in enumerate(words.items())
    }
    return dashboard.ValueMap(options=options)


def _table(panel: Panel) -> table.Panel:
    """All queries side by side, joined by their common fields."""
    order = {column.source: number for number, column in enumerate(panel.columns)}
    names = {column.source: column.title for column in panel.columns}
    hidden = {"Time": True, "Value #A": True, "Value #B": True}
    made = table.Panel().with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    made = made.with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize", options={"excludeByName": hidden, "indexByName": order, "renameByName": names}
        )
    )
    made = made.sort_by([common_builders.TableSortByFieldState().display_name("Error budget left").desc(False)])
    for column in panel.columns:
        made = made.override_by_name(column.title, _column(column))
    return made


def _column(column: Column) -> list[dashboard.DynamicConfigValue]:
    overrides = [dashboard.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.steps:
        steps = [{"value": value, "color": colour} for value, colour in column.steps]
        overrides.append(dashboard.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}))
    if column.words:
        options = {
            word: {"color": colour, "text": word, "index": at} for at, (word, colour) in enumerate(column.words.items())
        }
        overrides.append(dashboard.DynamicConfigValue(id_val="mappings", value=[{"type": "value", "options": options}]))
    if column.steps or column.words:
        shown = {"type": "color-background", "mode": "basic"}
        overrides.append(dashboard.DynamicConfigValue(id_val="custom.cellOptions", value=shown))
    if column.link:
        link = {"title": "Its own page", "url": column.link}
        overrides.append(dashboard.DynamicConfigValue(id_val="links", value=[link]))
    return overrides
