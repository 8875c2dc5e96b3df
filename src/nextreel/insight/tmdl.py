"""The semantic model of the Power BI project, as TMDL: the star's tables and relationships, and a measure a metric."""

from collections.abc import Iterator

from nextreel.insight.metrics import BY_NAME as METRIC
from nextreel.insight.metrics import METRICS, Fact, Metric, Ratio, Unit
from nextreel.insight.star import STAR, Column, Kind, Table

#: The table of the star that a fact is.
TABLE_OF: dict[Fact, str] = {
    "recommendation": "fact_recommendation",
    "interaction": "fact_interaction",
    "rating": "fact_rating",
    "title": "dim_title",
    "user": "dim_user",
    "model": "model_metric",
    "calibration": "model_calibration",
}

#: From many to one. Where both filter each other, so that a genre finds the facts of its titles, it says so.
RELATIONSHIPS: tuple[tuple[str, str, str, bool], ...] = (
    *((fact, "user_id", "dim_user", False) for fact in ("fact_recommendation", "fact_interaction", "fact_rating")),
    *((fact, "content_id", "dim_title", False) for fact in ("fact_recommendation", "fact_interaction", "fact_rating")),
    *((fact, "date", "dim_date", False) for fact in ("fact_interaction", "fact_rating")),
    ("bridge_title_genre", "content_id", "dim_title", True),
    ("bridge_title_genre", "genre", "dim_genre", False),
    ("bridge_title_person", "content_id", "dim_title", True),
)

HIERARCHIES: dict[str, dict[str, tuple[str, ...]]] = {
    "dim_date": {"Calendar": ("year", "quarter", "month", "date")},
    "dim_title": {"Catalogue": ("type", "decade", "title")},
    "dim_user": {"Cohorts": ("cohort", "username")},
}

_TYPES: dict[Kind, tuple[str, str]] = {  # of TMDL and of M
    "string": ("string", "type text"),
    "whole": ("int64", "Int64.Type"),
    "number": ("double", "type number"),
    "date": ("dateTime", "type date"),
    "time": ("dateTime", "type datetime"),
    "flag": ("boolean", "type logical"),
}
_COLUMN_FORMATS: dict[Kind, str] = {
    "whole": "0", "number": "0.00", "date": "yyyy-mm-dd", "time": "yyyy-mm-dd hh:nn:ss",
}  # fmt: skip
_FORMATS: dict[Unit, str] = {
    "count": "#,##0", "titles": "#,##0", "stars": "0.00", "share": "0.0%", "percent": "0.0", "score": "0.000",
}  # fmt: skip
#: Columns that sort others.
_SORTED_BY = {("dim_date", "weekday_name"): "weekday"}


def table_of(metric: Metric | Ratio) -> str:
    """Return the table that has a metric's measure: its fact's, of a ratio the numerator's."""
    if isinstance(metric, Ratio):
        return table_of(METRIC[metric.numerator])
    return TABLE_OF[metric.fact]


def model_files(data: str) -> dict[str, str]:
    """Return the files of the model's definition, by their paths in it; ``data`` is the folder that has the exports."""
    tables = {f"tables/{table.name}.tmdl": _table(table) for table in STAR}
    return tables | {
        "database.tmdl": "database\n\tcompatibilityLevel: 1601\n",
        "model.tmdl": _model(),
        "expressions.tmdl": _expressions(data),
        "relationships.tmdl": "\n".join(_relationship(*each) for each in RELATIONSHIPS),
    }


def _model() -> str:
    order = ",".join(f'"{name}"' for name in ("DataFolder", *(table.name for table in STAR)))
    lines = [
        "model Model",
        "\tculture: en-US",
        "\tdefaultPowerBIDataSourceVersion: powerBI_V3",
        "\tdiscourageImplicitMeasures",
        "\tsourceQueryCulture: en-US",
        "\tdataAccessOptions",
        "\t\tlegacyRedirects",
        "\t\treturnErrorValuesAsNull",
        "",
        "annotation __PBI_TimeIntelligenceEnabled = 0",
        "",
        f"annotation PBI_QueryOrder = [{order}]",
        "",
        *(f"ref table {table.name}" for table in STAR),
        "",
    ]
    return "\n".join(lines)


def _expressions(data: str) -> str:
    return (
        "/// The folder star of nextreel's exports, with what ends it: nextreel powerbi --data sets it\n"
        f"expression DataFolder = {_text(data)} "
        'meta [IsParameterQuery=true, Type="Text", IsParameterQueryRequired=true]\n\n'
        "\tannotation PBI_ResultType = Text\n"
    )


def _text(text: str) -> str:
    """Return text as M writes it: ``#(`` begins an escape there."""
    escaped = text.replace('"', '""').replace("#(", "#(#)(")
    return f'"{escaped}"'


def _relationship(many: str, column: str, one: str, both: bool) -> str:
    lines = [f"relationship {many}_{column}_{one}", f"\tfromColumn: {many}.{column}", f"\ttoColumn: {one}.{column}"]
    lines += ["\tcrossFilteringBehavior: bothDirections"] if both else []
    return "\n".join([*lines, ""])


def _table(table: Table) -> str:
    lines = [f"/// {table.doc}", f"table {table.name}"]
    lines += ["\tdataCategory: Time"] if table.name == "dim_date" else []
    for metric in METRICS:
        if table_of(metric) == table.name:
            lines += ["", *_measure(metric)]
    for column in table.columns:
        lines += ["", *_column(table, column)]
    for name, levels in HIERARCHIES.get(table.name, {}).items():
        lines += ["", f"\thierarchy {name}"]
        for level in levels:
            lines += ["", f"\t\tlevel {level}", f"\t\t\tcolumn: {level}"]
    return "\n".join([*lines, "", *_partition(table), "", "\tannotation PBI_ResultType = Table", ""])


def _measure(metric: Metric | Ratio) -> Iterator[str]:
    yield f"\t/// {metric.doc}"
    yield f"\tmeasure {quoted(metric.title)} = {metric.dax}"
    yield f"\t\tformatString: {_FORMATS[metric.unit]}"


def _column(table: Table, column: Column) -> Iterator[str]:
    is_dimension = table.name.startswith("dim_")
    yield f"\t/// {column.doc}"
    yield f"\tcolumn {column.name}"
    yield f"\t\tdataType: {_TYPES[column.kind][0]}"
    if column.key and is_dimension:
        yield "\t\tisKey"
    if column.key and not is_dimension:
        yield "\t\tisHidden"
    if column.kind in _COLUMN_FORMATS:
        yield f"\t\tformatString: {_COLUMN_FORMATS[column.kind]}"
    yield "\t\tsummarizeBy: none"
    if (by := _SORTED_BY.get((table.name, column.name))) is not None:
        yield f"\t\tsortByColumn: {by}"
    yield f"\t\tsourceColumn: {column.name}"


def _partition(table: Table) -> Iterator[str]:
    types = ", ".join(f'{{"{column.name}", {_TYPES[column.kind][1]}}}' for column in table.columns)
    yield f"\tpartition {table.name} = m"
    yield "\t\tmode: import"
    yield "\t\tsource ="
    yield "\t\t\t\tlet"
    yield f'\t\t\t\t    Source = Parquet.Document(File.Contents(DataFolder & "{table.name}.parquet")),'
    yield f'\t\t\t\t    Typed = Table.TransformColumnTypes(Source, {{{types}}}, "en-US")'
    yield "\t\t\t\tin"
    yield "\t\t\t\t    Typed"


def quoted(name: str) -> str:
    """Return a name as TMDL writes it."""
    return name if name.isidentifier() and name.isascii() else "'" + name.replace("'", "''") + "'"
