"""Facts summed up by title or by user: from these few rows many breakdowns are made, instead of from every event.

A metric can be made from sums where it adds up over rows (counts, means by their sums, maxima), or where it counts the
very titles, or users, that the cut has a row of.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import duckdb

from nextreel.insight.metrics import METRICS, Fact, Metric

Key = Literal["title", "user"]
COLUMN: dict[Key, str] = {"title": "title_key", "user": "user_key"}


@dataclass(frozen=True)
class Summed:
    """A metric from sums: a cut's columns by their aggregates over the fact, and the metric over rows of the cut ``c``.

    It ``adds_up`` where the rows of a key may be split further; ``keys`` are those that it can be made from.
    """

    columns: dict[str, str]
    total: str
    keys: tuple[Key, ...] = ("title", "user")
    adds_up: bool = True


def _count(name: str, sql: str) -> Summed:
    return Summed({name: sql}, f"coalesce(sum(c.{name}), 0)::BIGINT")


def _mean(name: str, column: str) -> Summed:
    sums = {f"{name}_sum": f"sum({column}::DOUBLE)", f"{name}_n": f"count({column})"}
    return Summed(sums, f"sum(c.{name}_sum) / nullif(sum(c.{name}_n), 0)")


def _distinct(key: Key) -> Summed:
    return Summed({}, "count(*)", (key,), adds_up=False)


_N: dict[str, str] = {"n": "count(*)"}

SUMMED: dict[str, Summed] = {
    **{name: Summed(_N, "coalesce(sum(c.n), 0)::BIGINT") for name in ("recommendations", "ratings", "interactions")},
    **{
        metric.name: _count(metric.name, metric.sql)
        for metric in METRICS
        if isinstance(metric, Metric) and "FILTER" in metric.sql and metric.fact == "interaction"
    },
    "mean_predicted_rating": _mean("predicted", "f.predicted_rating"),
    "max_predicted_rating": Summed({"predicted_max": "max(f.predicted_rating::DOUBLE)"}, "max(c.predicted_max)"),
    "mean_rating": _mean("rating", "f.rating"),
    "mean_percent_watched": _mean("watched", "f.percent_watched"),
    "recommended_titles": _distinct("title"),
    "effective_titles": Summed(_N, "sum(c.n)::DOUBLE * sum(c.n) / sum(c.n::DOUBLE * c.n)", ("title",), adds_up=False),
    "recommended_users": _distinct("user"),
    "raters": _distinct("user"),
    "viewers": _distinct("user"),
}


def columns_of(fact: Fact, names: Iterable[str]) -> dict[str, str]:
    """Return the columns that a fact's cut has for some metrics; those of other facts have no part in it."""
    own = {m.name for m in METRICS if isinstance(m, Metric) and m.fact == fact}
    return {
        column: sql for name in sorted(own & {*names} & SUMMED.keys()) for column, sql in SUMMED[name].columns.items()
    }


class Cuts:
    """The cuts that have been made on a connection, each once: questions that go together share them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, names: Iterable[str]):
        #: The metrics that are asked for together: a cut has what all of them need.
        self.names = frozenset(names)
        self._connection = connection
        self._made: dict[tuple[str, str], str] = {}
        self._numbers = count()

    def table(self, query: str, values: Sequence[Any]) -> str:
        """Return the name of a table of what a query gives."""
        key = query, repr(values)
        if key not in self._made:
            name = f"cut_{next(self._numbers)}"
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}", values)
            self._made[key] = name
        return self._made[key]

    def drop(self) -> None:
        """Let go of all of them."""
        for name in self._made.values():
            self._connection.execute(f"DROP TABLE {name}")
        self._made.clear()


@contextmanager
def shared(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> Iterator[Cuts]:
    """Give cuts for questions after some metrics that go together, at one moment of the warehouse."""
    cuts = Cuts(connection, names)
    connection.execute("BEGIN")
    try:
        yield cuts
        cuts.drop()
    finally:
        connection.execute("ROLLBACK")
