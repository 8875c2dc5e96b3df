"""The report of the Power BI project, as PBIR: a page a view, a visual a chart, slicers of the dashboard's filters."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nextreel.insight.metrics import BY_NAME as METRIC
from nextreel.insight.metrics import DIMENSION, Fact, Metric, Ratio
from nextreel.insight.tmdl import table_of
from nextreel.insight.views import VIEWS, Chart, View

_SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric/item/report/definition"
_WIDTH, _MARGIN, _GAP, _COLUMNS = 1600, 24, 16, 3
_TITLE, _SLICER, _CARDS, _VISUAL = 48, 84, 120, 340
_MOST_TOP = 100

#: The column that each slicer is of, and what it is called.
SLICERS: dict[str, tuple[str, ...]] = {
    "recommendations": ("user", "genre", "rating", "type"),
    "content": ("user", "genre", "rating", "type"),
    "engagement": ("user", "genre", "rating", "type"),
    "model": ("version",),
}
_SLICED_BY: dict[str, Fact] = {"recommendations": "recommendation", "model": "model"}

_VISUALS = {
    "bars": "clusteredBarChart", "columns": "clusteredColumnChart", "lines": "lineChart", "heatmap": "pivotTable",
    "cohorts": "pivotTable", "shares": "donutChart", "table": "tableEx", "funnel": "cardVisual",
    "intervals": "clusteredColumnChart",
}  # fmt: skip

Json = dict[str, Any]


def report_files() -> dict[str, Json]:
    """Return the files of the report's definition, by their paths in it."""
    found: dict[str, Json] = {
        "version.json": {"$schema": f"{_SCHEMAS}/versionMetadata/1.0.0/schema.json", "version": "2.0.0"},
        "report.json": {
            "$schema": f"{_SCHEMAS}/report/3.2.0/schema.json",
            "themeCollection": {},
            "settings": {"useStylableVisualContainerHeader": True, "defaultDrillFilterOtherVisuals": True},
        },
        "pages/pages.json": {
            "$schema": f"{_SCHEMAS}/pagesMetadata/1.0.0/schema.json",
            "pageOrder": [identifier(view.name) for view in VIEWS],
            "activePageName": identifier(VIEWS[0].name),
        },
    }
    for view in VIEWS:
        folder = f"pages/{identifier(view.name)}"
        visuals = list(_visuals(view))
        found[f"{folder}/page.json"] = {
            "$schema": f"{_SCHEMAS}/page/2.1.0/schema.json",
            "name": identifier(view.name),
            "displayName": view.title,
            "displayOption": "FitToWidth",
            "height": max(v["position"]["y"] + v["position"]["height"] for v in visuals) + _MARGIN,
            "width": _WIDTH,
        }
        found |= {f"{folder}/visuals/{visual['name']}/visual.json": visual for visual in visuals}
    return found


def identifier(*parts: str) -> str:
    """Return the identifier of something, always the same."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:20]


def _visuals(view: View) -> Iterator[Json]:
    y = _MARGIN
    yield _placed(view, "title", _text(view.title), _MARGIN, y, _WIDTH - 2 * _MARGIN, _TITLE)
    y += _TITLE + _GAP
    slicers = SLICERS[view.name]
    width = (_WIDTH - 2 * _MARGIN - (len(slicers) - 1) * _GAP) // len(slicers)
    for n, name in enumerate(slicers):
        x = _MARGIN + n * (width + _GAP)
        yield _placed(view, f"slicer {name}", _slicer(name, _SLICED_BY.get(view.name, "rating")), x, y, width, _SLICER)
    y += _SLICER + _GAP
    figures = [chart for chart in view.charts if chart.kind == "figure"]
    yield _placed(view, "figures", _cards(figures), _MARGIN, y, _WIDTH - 2 * _MARGIN, _CARDS, _always(view, figures[0]))
    y += _CARDS + _GAP
    column = 0
    unit = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
    for chart in view.charts:
        if chart.kind == "figure":
            continue
        span = 2 if chart.wide else 1
        if column + span > _COLUMNS:
            column, y = 0, y + _VISUAL + _GAP
        x = _MARGIN + column * (unit + _GAP)
        filters = [*_always(view, chart), *_top(view, chart)]
        yield _placed(view, chart.name, _chart(chart), x, y, span * unit + (span - 1) * _GAP, _VISUAL, filters)
        column += span


def _placed(
    view: View, name: str, visual: Json, x: int, y: int, width: int, height: int, filters: Sequence[Json] = ()
) -> Json:
    found: Json = {
        "$schema": f"{_SCHEMAS}/visualContainer/2.7.0/schema.json",
        "name": identifier(view.name, name),
        "position": {"x": x, "y": y, "z": 0, "height": height, "width": width, "tabOrder": y * _WIDTH + x},
        "visual": visual,
    }
    return found | ({"filterConfig": {"filters": list(filters)}} if filters else {})


def _chart(chart: Chart) -> Json:
    fact = _fact(chart)
    by = [_projection(_column(DIMENSION[name].columns.get(fact, DIMENSION[name].column))) for name in chart.by]
    metrics = [_projection(_measure(METRIC[name])) for name in chart.metrics]
    if chart.kind == "cohorts":
        metrics = [_projection(_measure(METRIC["retention"]))]
    kind = _VISUALS[chart.kind]
    state: Json
    if kind == "pivotTable":
        state = {"Rows": by[:1], "Columns": by[1:], "Values": metrics}
    elif kind == "tableEx":
        state = {"Values": [*by, *metrics]}
    elif chart.kind == "funnel":
        state = {"Data": metrics}
    else:
        state = {"Category": by[:1], "Y": metrics[:1], "Series": by[1:], "Tooltips": metrics[1:]}
    visual: Json = {
        "visualType": kind,
        "query": {"queryState": {role: {"projections": shown} for role, shown in state.items() if shown}},
        "visualContainerObjects": _heading(chart.title, chart.note),
        "drillFilterOtherVisuals": True,
    }
    if chart.kind == "bars":
        order = {"field": metrics[0]["field"], "direction": "Descending"}
        visual["query"]["sortDefinition"] = {"sort": [order], "isDefaultSort": False}
    return visual


def _fact(chart: Chart) -> Fact:
    metric = METRIC[chart.metrics[0]]
    part = METRIC[metric.numerator] if isinstance(metric, Ratio) else metric
    assert isinstance(part, Metric)  # noqa: S101 (a ratio is of metrics)
    return part.fact


def _cards(figures: Sequence[Chart]) -> Json:
    shown = [_projection(_measure(METRIC[chart.metrics[0]])) for chart in figures]
    return {
        "visualType": "cardVisual",
        "query": {"queryState": {"Data": {"projections": shown}}},
        "drillFilterOtherVisuals": True,
    }


def _slicer(name: str, fact: Fact) -> Json:
    dimension = DIMENSION[name]
    column = dimension.columns.get(fact, dimension.column)
    return {
        "visualType": "slicer",
        "query": {"queryState": {"Values": {"projections": [_projection(_column(column))]}}},
        "objects": {"data": [{"properties": {"mode": _literal("'Dropdown'")}}]},
        "visualContainerObjects": _heading(dimension.title),
        "syncGroup": {"groupName": column, "fieldChanges": True, "filterChanges": True},
        "drillFilterOtherVisuals": True,
    }


def _text(title: str) -> Json:
    run = {"value": title, "textStyle": {"fontSize": "20pt", "fontWeight": "bold"}}
    paragraphs = [{"textRuns": [run]}]
    return {
        "visualType": "textbox",
        "objects": {"general": [{"properties": {"paragraphs": paragraphs}}]},
        "drillFilterOtherVisuals": True,
    }


def _heading(title: str, note: str = "") -> Json:
    found: Json = {"title": [{"properties": {"show": _literal("true"), "text": _literal(_string(title))}}]}
    if note:
        found["subTitle"] = [{"properties": {"show": _literal("true"), "text": _literal(_string(note))}}]
    return found


def _always(view: View, chart: Chart) -> list[Json]:
    fact = _fact(chart)
    return [
        {"name": identifier(view.name, chart.name, name)}
        | _only(DIMENSION[name].columns.get(fact, DIMENSION[name].column), values)
        for name, values in chart.always.items()
    ]


def _top(view: View, chart: Chart) -> list[Json]:
    """Return the filter of what is ordered by its first metric: as many as the chart shows, of all."""
    if chart.kind not in ("bars", "table") or chart.limit > _MOST_TOP:
        return []
    dimension = DIMENSION[chart.by[0]]
    column = dimension.columns.get(_fact(chart), dimension.column)
    (entity, name), metric = _parts(column), METRIC[chart.metrics[0]]
    sources = {entity: "d", table_of(metric): "d" if table_of(metric) == entity else "m"}
    query = {
        "Version": 2,
        "From": [{"Name": source, "Entity": table, "Type": 0} for table, source in sources.items()],
        "Select": [{"Column": {"Expression": {"SourceRef": {"Source": "d"}}, "Property": name}, "Name": "top"}],
        "OrderBy": [
            {
                "Direction": 2,
                "Expression": {
                    "Measure": {
                        "Expression": {"SourceRef": {"Source": sources[table_of(metric)]}},
                        "Property": metric.title,
                    }
                },
            }
        ],
        "Top": chart.limit,
    }
    among = {"Expressions": [{"Column": {"Expression": {"SourceRef": {"Source": "d"}}, "Property": name}}]}
    return [
        {
            "name": identifier(view.name, chart.name, "top"),
            "field": _column(column),
            "type": "TopN",
            "filter": {
                "Version": 2,
                "From": [
                    {"Name": "subquery", "Expression": {"Subquery": {"Query": query}}, "Type": 2},
                    {"Name": "d", "Entity": entity, "Type": 0},
                ],
                "Where": [{"Condition": {"In": among | {"Table": {"SourceRef": {"Source": "subquery"}}}}}],
            },
        }
    ]


def _only(column: str, values: Sequence[str]) -> Json:
    """Return a filter of a visual: any of some values of a column."""
    entity, name = _parts(column)
    source = {"Column": {"Expression": {"SourceRef": {"Source": "s"}}, "Property": name}}
    flags: Mapping[str, str] = {"true": "true", "false": "false"}
    literals = [[{"Literal": {"Value": flags.get(value, _string(value))}}] for value in values]
    return {
        "field": _column(column),
        "type": "Categorical",
        "filter": {
            "Version": 2,
            "From": [{"Name": "s", "Entity": entity, "Type": 0}],
            "Where": [{"Condition": {"In": {"Expressions": [source], "Values": literals}}}],
        },
    }


def _projection(field: Json) -> Json:
    ((_, said),) = field.items()
    entity, name = said["Expression"]["SourceRef"]["Entity"], said["Property"]
    return {"field": field, "queryRef": f"{entity}.{name}", "nativeQueryRef": name}


def _measure(metric: Metric | Ratio) -> Json:
    return {"Measure": {"Expression": {"SourceRef": {"Entity": table_of(metric)}}, "Property": metric.title}}


def _column(column: str) -> Json:
    entity, name = _parts(column)
    return {"Column": {"Expression": {"SourceRef": {"Entity": entity}}, "Property": name}}


def _parts(column: str) -> tuple[str, str]:
    entity, _, name = column.removesuffix("]").partition("[")
    return entity, name


def _literal(value: str) -> Json:
    return {"expr": {"Literal": {"Value": value}}}


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
