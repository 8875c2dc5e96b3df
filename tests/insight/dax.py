"""Measures of the Power BI model, evaluated over the warehouse's star."""

from collections.abc import Mapping
from typing import Any

from pbix_mcp.dax.engine import DAXContext, DAXEngine

from nextreel.insight.metrics import BY_NAME, METRICS
from nextreel.insight.star import STAR
from nextreel.insight.tmdl import RELATIONSHIPS
from nextreel.insight.warehouse import Warehouse

Tables = dict[str, Any]
Relationships = list[dict[str, Any]]


def as_dax(warehouse: Warehouse) -> tuple[Tables, Relationships]:
    """Return the star's tables and the model's relationships as the evaluator of DAX takes them."""
    cursor = warehouse.cursor()
    tables = {
        table.name: {
            "columns": [column.name for column in table.columns],
            "rows": [list(row) for row in cursor.execute(f"FROM {table.name}").fetchall()],
        }
        for table in STAR
    }
    relationships = [
        {
            "FromTable": many, "FromColumn": column, "ToTable": one, "ToColumn": column, "IsActive": 1,
            "CrossFilteringBehavior": 2 if both else 1,
        }
        for many, column, one, both in RELATIONSHIPS
    ]  # fmt: skip
    return tables, relationships


def in_dax(tables: Tables, relationships: Relationships, metric: str, filters: Mapping[str, list[Any]]) -> Any:
    """Return a metric's measure under filters (values by table.column); fails where it cannot be evaluated."""
    engine = DAXEngine()
    measures = {each.title: each.dax for each in METRICS}
    context = DAXContext(tables, measures, None, None, dict(filters), relationships)
    found = engine.evaluate_measure(BY_NAME[metric].title, context)
    assert (engine.eval_errors, engine.unsupported_functions) == ({}, set())
    return found
