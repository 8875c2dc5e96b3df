"""Figures from the warehouse: named metrics by named dimensions, under filters.

A filter holds for each metric whose fact has its dimension, as relationships carry it in Power BI: that interactions
are from a television says nothing of ratings. A breakdown by a dimension that is filtered shows all of its values, so
that one can see what was left out, and choose another.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from nextreel.insight.cuts import COLUMN, SUMMED, Cuts, Key, columns_of
from nextreel.insight.metrics import BY_NAME, DIMENSION, Dimension, Fact, Metric, Ratio

_TABLES: dict[Fact, str] = {
    "recommendation": "recommendations f",
    "interaction": "interactions f",
    "rating": "ratings f",
    "title": "titles t",
    "user": "users u",
    "model": "model_metric f",
    "calibration": "model_calibration f",
}
_TIMES: dict[Fact, str] = {"interaction": "f.happened_at", "rating": "f.rated_at"}
_STARS: dict[Fact, str] = {"rating": "f.rating", "recommendation": "f.predicted_rating"}

#: Rows of an answer, at the most.
MOST_ROWS = 10_000
#: Rows that are put in order, at the most.
MOST_GROUPS = 200_000


@dataclass(frozen=True)
class Filters:
    """What is to be counted: ``chosen`` values by dimension, each any of them; days and stars, both ends included."""

    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    since: date | None = None
    until: date | None = None
    least_stars: float | None = None
    most_stars: float | None = None

    def without(self, dimensions: Sequence[str]) -> "Filters":
        """Return the same without what is chosen of some dimensions."""
        chosen = {name: values for name, values in self.chosen.items() if name not in dimensions}
        return Filters(chosen, self.since, self.until, self.least_stars, self.most_stars)

    def known_to(self, facts: Iterable[Fact]) -> "Filters":
        """Return the same without what none of some facts has: to them it is the same."""
        known = {name for fact in facts for name in self.holds_for(fact)}
        chosen = {name: values for name, values in self.chosen.items() if name in known}
        days = (self.since, self.until) if "time" in known else (None, None)
        return Filters(chosen, *days, *((self.least_stars, self.most_stars) if "stars" in known else (None, None)))

    def holds_for(self, fact: Fact) -> list[str]:
        """Return the names of the filters that a fact has."""
        found = [name for name in self.chosen if fact in DIMENSION[name].sql]
        found += ["time"] if (self.since or self.until) and fact in _TIMES else []
        return found + (["stars"] if self._has_stars and fact in _STARS else [])

    @property
    def _has_stars(self) -> bool:
        return self.least_stars is not None or self.most_stars is not None


@dataclass(frozen=True)
class Answer:
    """Rows of figures: ``columns`` are the dimensions' names, then the metrics'."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class TooManyRows(ValueError):  # noqa: N818 (an answer, as ValueError is here)
    """A question has more rows than are put in order."""


def measure(
    connection: duckdb.DuckDBPyConnection,
    metrics: Sequence[str],
    by: Sequence[str] = (),
    filters: Filters | None = None,
    limit: int = MOST_ROWS,
    cuts: Cuts | None = None,
) -> Answer:
    """Return metrics for each combination of the dimensions' values that there is.

    Rows are in the order of the dimensions where those have one, the last of them, else by the first metric, the
    greatest first, and then by the values. A value that is not known is None. What is summed up for it stays in
    ``cuts``. Raises `KeyError` for a name that there is not, `ValueError` for a dimension that a metric does not have,
    and for too many rows.
    """
    filters = (filters or Filters()).without(by)
    parts = needed(metrics)
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    first: list[tuple[Any, ...]] | None = None
    for fact in dict.fromkeys(metric.fact for metric in parts.values()):
        names = [name for name, metric in parts.items() if metric.fact == fact]
        own = [name for name in by if fact in DIMENSION[name].sql]
        if own != list(by) and not _is_denominator(metrics, names):
            missing = next(name for name in by if name not in own)
            raise ValueError(f"{BY_NAME[names[0]].title} is not known by {DIMENSION[missing].title.lower()}")
        query, values = _query(fact, names, by if own == list(by) else (), filters, cuts)
        if first is None and by and metrics[0] == names[0] and not _has_order(by):
            query += f" ORDER BY m0 DESC NULLS LAST, {_places(by)} LIMIT {limit:d}"
            rows = first = connection.execute(query, values).fetchall()
        else:
            if first is not None and len(first) == limit and len(by) == 1 and own == list(by):
                # The greatest are known: of this fact, what goes with them.
                query = f"SELECT * FROM ({query}) WHERE list_contains(?::VARCHAR[], coalesce(b0::VARCHAR, ''))"
                values = [*values, [_text(row[0]) for row in first]]
            rows = connection.execute(f"{query} LIMIT {MOST_GROUPS + 1}", values).fetchall()
            if len(rows) > MOST_GROUPS:
                raise TooManyRows(f"there are more than {MOST_GROUPS:,} rows: ask for fewer dimensions, or filter")
        _gather(groups, rows, names, len(by) if own == list(by) else 0)
    ordered = sorted(_rows(groups, metrics, len(by)), key=_order(by))
    return Answer([*by, *metrics], ordered[-limit:] if _has_order(by) else ordered[:limit])


def _text(value: Any) -> str:
    """Return a value as SQL casts it; what is not known is empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def needed(metrics: Sequence[str]) -> dict[str, Metric]:
    """Return the metrics that some are computed from."""
    found: dict[str, Metric] = {}
    for name in metrics:
        metric = BY_NAME[name]
        parts = [metric] if isinstance(metric, Metric) else [BY_NAME[metric.numerator], BY_NAME[metric.denominator]]
        found |= {part.name: part for part in parts if isinstance(part, Metric)}
    return found


def _is_denominator(metrics: Sequence[str], names: Sequence[str]) -> bool:
    ratios = [metric for name in metrics if isinstance(metric := BY_NAME[name], Ratio)]
    return all(any(ratio.denominator == name for ratio in ratios) and name not in metrics for name in names)


def _query(
    fact: Fact, names: Sequence[str], by: Sequence[str], filters: Filters, cuts: Cuts | None
) -> tuple[str, list[Any]]:
    """Return the SQL of metrics of one fact, and its values; what it is made of is constant, but for those."""
    conditions, values = _conditions(fact, filters)
    key, within = _cut(fact, names, by)
    if key is None:
        shown = [DIMENSION[name] for name in by]
        columns = [f"{dimension.sql[fact]} AS b{place}" for place, dimension in enumerate(shown)]
        query = _select(columns, _metrics(names), fact, shown, conditions)
    else:
        kept = [f"{DIMENSION[name].sql[fact]} AS d{place}" for place, name in enumerate(within)]
        sums = [
            f"f.{COLUMN[key]}",
            *(
                f"{sql} AS {column}"
                for column, sql in columns_of(fact, cuts.names if cuts is not None else names).items()
            ),
        ]
        inner = _select([*kept, sums[0]], sums[1:], fact, [DIMENSION[name] for name in within], conditions)
        if cuts is not None:
            inner, values = cuts.table(inner, values), []
        query = _of_cut(fact, names, by, within, key, inner)
    if not any(DIMENSION[name].text for name in by):
        return query, values
    texts = [(DIMENSION[name].text or "{}").format(f"b{place}") + f" AS b{place}" for place, name in enumerate(by)]
    return f"SELECT {', '.join([*texts, *(f'm{place}' for place in range(len(names)))])} FROM ({query})", values


def _metrics(names: Sequence[str]) -> list[str]:
    parts = [BY_NAME[name] for name in names]
    return [f"{part.sql} AS m{place}" for place, part in enumerate(parts) if isinstance(part, Metric)]


def _select(
    columns: Sequence[str], figures: Sequence[str], fact: Fact, shown: Sequence[Dimension], conditions: Sequence[str]
) -> str:
    """Return what groups a fact's rows by all of its columns."""
    query = f"SELECT {', '.join([*columns, *figures])} FROM {_TABLES[fact]}{''.join(_joins(fact, shown, conditions))}"
    if conditions:
        query += f" WHERE {' AND '.join(conditions)}"
    return query + (f" GROUP BY {', '.join(str(n + 1) for n in range(len(columns)))}" if columns else "")


def _cut(fact: Fact, names: Sequence[str], by: Sequence[str]) -> tuple[Key | None, list[str]]:
    """Return by what a fact is summed up first, and which dimensions of the fact's own that keeps; None for neither."""
    if fact in ("title", "user") or not all(name in SUMMED for name in names):
        return None, []
    if not by and "effective_titles" not in names:  # all of a fact's rows are summed up as they are
        return None, []
    of: dict[str, Key | None] = {name: DIMENSION[name].of for name in by}
    keys: set[Key] = {key for key in of.values() if key is not None}
    within = [name for name, key in of.items() if key is None]
    if len(keys) > 1 or (within and not keys):
        return None, []
    if within and not all(SUMMED[name].adds_up for name in names):
        return None, []
    possible = keys or {"title", "user"}
    for key in ("title", "user"):
        if key in possible and all(key in SUMMED[name].keys for name in names):
            return key, within
    return None, []


def _of_cut(fact: Fact, names: Sequence[str], by: Sequence[str], within: Sequence[str], key: Key, cut: str) -> str:
    """Return the SQL of metrics over a cut: a table, or the query that makes it."""
    source = cut if cut.isidentifier() else f"({cut})"
    columns = [
        f"c.d{within.index(name)} AS b{place}" if name in within else f"{DIMENSION[name].sql[fact]} AS b{place}"
        for place, name in enumerate(by)
    ]
    columns += [f"{SUMMED[name].total} AS m{place}" for place, name in enumerate(names)]
    bridges = [bridge for name in by if (bridge := DIMENSION[name].through) is not None]
    joins = [f" JOIN {key}s {key[0]} USING ({COLUMN[key]})"] if len(by) > len(within) + len(bridges) else []
    joins += [f" JOIN {bridge} ON {bridge.split()[-1]}.title_key = c.title_key" for bridge in bridges]
    query = f"SELECT {', '.join(columns)} FROM {source} c{''.join(joins)}"
    return query + (f" GROUP BY {_places(by)}" if by else "")


def _places(by: Sequence[str]) -> str:
    return ", ".join(f"b{place}" for place in range(len(by)))


def _has_order(by: Sequence[str]) -> bool:
    return all(DIMENSION[name].order == "value" for name in by)


def _joins(fact: Fact, shown: Sequence[Dimension], conditions: Sequence[str]) -> Iterator[str]:
    text = " ".join([*(dimension.sql[fact] for dimension in shown), *(c for c in conditions if "SELECT" not in c)])
    if fact not in ("title", "user"):
        if "t." in text:
            yield " JOIN titles t ON t.title_key = f.title_key"
        if "u." in text:
            yield " JOIN users u ON u.user_key = f.user_key"
    own = "t" if fact == "title" else "f"
    for dimension in shown:
        if dimension.through is not None:
            alias = dimension.through.split()[-1]
            yield f" JOIN {dimension.through} ON {alias}.title_key = {own}.title_key"


def _conditions(fact: Fact, filters: Filters) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name, chosen in filters.chosen.items():
        dimension = DIMENSION[name]
        if fact in dimension.sql:
            conditions.append(_condition(fact, dimension))
            values.append(list(chosen))
    for column, low, high in (
        (_TIMES.get(fact), filters.since, filters.until),
        (_STARS.get(fact), filters.least_stars, filters.most_stars),
    ):
        for sign, bound in ((">=", low), ("<=", high)):
            if column is not None and bound is not None:
                conditions.append(f"{column}{'::DATE' if isinstance(bound, date) else ''} {sign} ?")
                values.append(bound)
    return conditions, values


def _condition(fact: Fact, dimension: Dimension) -> str:
    """Return what holds for rows of a fact that have any of the values of a dimension; "" is what is not known."""
    sql = (dimension.text or "{}").format(dimension.sql[fact])
    chosen = f"list_contains(?::VARCHAR[], coalesce(({sql})::VARCHAR, ''))"
    if dimension.is_number:  # 4 and 4.0 are the same
        stars = "[if(x = '', -1, TRY_CAST(x AS DOUBLE)) FOR x IN ?::VARCHAR[]]"
        chosen = f"list_contains({stars}, coalesce({sql}, -1))"
    if dimension.through is not None:
        own = "t" if fact == "title" else "f"
        return f"{own}.title_key IN (SELECT title_key FROM {dimension.through} WHERE {chosen})"
    if fact not in ("title", "user"):
        for alias, table, key in (("t", "titles", "title_key"), ("u", "users", "user_key")):
            if sql.startswith(f"{alias}."):  # of few, and not of each row of the fact
                return f"f.{key} IN (SELECT {key} FROM {table} {alias} WHERE {chosen})"
    return chosen


def _gather(
    groups: dict[tuple[Any, ...], dict[str, Any]], rows: Sequence[tuple[Any, ...]], names: Sequence[str], n_by: int
) -> None:
    for row in rows:
        groups.setdefault(row[:n_by], {}).update(zip(names, row[n_by:], strict=True))


def _rows(
    groups: Mapping[tuple[Any, ...], Mapping[str, Any]], metrics: Sequence[str], n_by: int
) -> Iterator[tuple[Any, ...]]:
    over_all = groups.get((), {})
    for key, found in groups.items():
        if len(key) == n_by:
            yield *key, *(_value(name, {**over_all, **found}) for name in metrics)


def _value(name: str, found: Mapping[str, Any]) -> Any:
    metric = BY_NAME[name]
    if isinstance(metric, Metric):
        return found.get(name, 0 if metric.unit in ("count", "titles") else None)
    top, bottom = found.get(metric.numerator) or 0, found.get(metric.denominator)
    return top / bottom if bottom else None


def _order(by: Sequence[str]) -> Any:
    has_order = _has_order(by)

    def key(row: tuple[Any, ...]) -> Any:
        values = [(value is None, value if value is not None else 0) for value in row[: len(by)]]
        if has_order:
            return values
        first = row[len(by)]
        return (-(first if first is not None else float("-inf")), values)

    return key
