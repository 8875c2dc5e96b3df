"""What the dashboard's page asks for: a view's figures, values to filter by, whether anything has changed.

The warehouse is refreshed in a thread: every second while somebody looks, seldom otherwise. Answers are kept until
the next change.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import duckdb

from nextreel.insight.cuts import Cuts, shared
from nextreel.insight.metrics import BY_NAME as METRIC
from nextreel.insight.metrics import DIMENSION, Ratio
from nextreel.insight.query import MOST_GROUPS, MOST_ROWS, Answer, Filters, TooManyRows, measure, needed
from nextreel.insight.views import BY_NAME, Chart
from nextreel.insight.warehouse import Warehouse
from nextreel.settings import Settings

_LOG = logging.getLogger(__name__)

#: How often the lake is looked at while somebody looks, and while nobody has for a while.
_LOOK_SECONDS, _IDLE_SECONDS, _WATCHED_SECONDS = 1.0, 30.0, 60.0
#: Refreshing may take such a share of the time: what takes long is done less often.
_SHARE = 0.2
_KEPT = 256
#: Errors after which DuckDB refuses every further statement of a database.
_BROKEN = (duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException)


class Dashboard:
    """The warehouse and what is asked of it. ``pipeline`` tells how the stream does."""

    def __init__(self, settings: Settings, pipeline: Callable[[], dict[str, Any]]):
        self.pipeline = pipeline
        self._settings = settings
        self._warehouse = Warehouse(settings)
        self._revisions_before = 0  # of warehouses that were replaced
        self._watched_at = time.monotonic()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._keeping = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="warehouse", daemon=True)
        self._local = threading.local()
        self.is_loaded = False
        self.trouble = ""

    def start(self) -> None:
        """Begin to follow the lake."""
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self._warehouse.close()

    @property
    def revision(self) -> int:
        """Counts changes of the figures."""
        return self._revisions_before + self._warehouse.revision

    def state(self) -> dict[str, Any]:
        """Return what a page needs to know to ask again: the revision, and what is amiss."""
        self._watch()
        return {"revision": self.revision, "loaded": self.is_loaded, "trouble": self.trouble}

    def view(self, name: str, filters: Filters, only: Sequence[str] = ()) -> dict[str, Any]:
        """Return the answers of a view's charts, or of some ``only``, by chart.

        Raises `KeyError` where there is no such view, and where it has no such chart.
        """
        self._watch()
        revision = self.revision
        charts = {chart.name: chart for chart in BY_NAME[name].charts}
        if unknown := [each for each in only if each not in charts]:
            raise KeyError(f"{name} has no chart {unknown[0]}")
        wanted = [charts[each] for each in dict.fromkeys(only)] or [*charts.values()]
        with shared(self._cursor(), needed([metric for chart in wanted for metric in chart.metrics])) as cuts:
            answers = self._figures([chart for chart in wanted if not chart.by], filters, revision, cuts)
            answers |= {chart.name: self._chart(chart, filters, revision, cuts) for chart in wanted if chart.by}
        return {"revision": revision, "loaded": self.is_loaded, "charts": answers}

    def ask(self, metrics: Sequence[str], by: Sequence[str], filters: Filters, limit: int) -> Answer:
        """Return what `measure` does, and raise what it raises."""
        self._watch()
        return measure(self._cursor(), metrics, by, filters, limit)

    def choices(self, dimension: str, words: str, count: int) -> list[dict[str, Any]]:
        """Return values of a dimension that have some words in them, with what to call them: the most active first."""
        self._watch()
        pattern = "%" + words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        if dimension in ("user", "title"):
            rows = self._cursor().execute(_CHOICES[dimension], {"words": pattern, "count": count}).fetchall()
            return [{"value": value, "label": label} for value, label in rows]
        facts = DIMENSION[dimension].sql
        fact = next((own for own in ("title", "user") if own in facts), next(iter(facts)))
        metric = next(m.name for m in METRIC.values() if not isinstance(m, Ratio) and m.fact == fact)
        limit = MOST_GROUPS if words else MOST_ROWS
        found = measure(self._cursor(), [metric], [dimension], limit=limit).rows
        texts = [_text(value) for value, _ in found if value is not None]
        return [{"value": t, "label": t} for t in texts if words.casefold() in t.casefold()][:count]

    def labels(self, answer: Answer) -> dict[str, str]:
        """Return what to call the users and titles of an answer."""
        found: dict[str, str] = {}
        for place, name in enumerate(answer.columns):
            if name in _LABELS:
                ids = sorted({row[place] for row in answer.rows if row[place] is not None})
                found |= dict(self._cursor().execute(_LABELS[name], [ids]).fetchall())
        return found

    def _figures(
        self, charts: Sequence[Chart], filters: Filters, revision: int, cuts: Cuts
    ) -> dict[str, dict[str, Any]]:
        """Return the answers of charts that break nothing down, each fact looked at once."""
        found = {}
        for always in {_key(Filters(chart.always)): chart.always for chart in charts}.values():
            own = [chart for chart in charts if chart.always == always]
            metrics = tuple(dict.fromkeys(name for chart in own for name in chart.metrics))
            together = Chart("figures", "", "table", metrics, always=always)
            answer = self._chart(together, filters, revision, cuts)
            value = dict(zip(answer["columns"], answer["rows"][0], strict=True))
            for chart in own:
                row = tuple(value[name] for name in chart.metrics)
                holds = _holds(chart, filters)
                found[chart.name] = {"columns": [*chart.metrics], "rows": [row], "labels": {}, "holds": holds}
        return found

    def _chart(self, chart: Chart, filters: Filters, revision: int, cuts: Cuts) -> dict[str, Any]:
        facts = {metric.fact for metric in needed(chart.metrics).values()}
        # A chart by genre shows all genres, whichever is chosen, and one of ratings knows no device: what
        # changes nothing is left out, and the answer kept for as many questions as it is the same for.
        chosen = Filters(
            {**filters.chosen, **chart.always},
            filters.since, filters.until, filters.least_stars, filters.most_stars,
        ).without(chart.by).known_to(facts)  # fmt: skip
        key = revision, self.is_loaded, chart.name, tuple(chart.metrics), _key(chosen)
        found: dict[str, Any] = self._once(key, lambda: self._answer(chart, chosen, cuts))
        return found | {"holds": _holds(chart, filters)}

    def _answer(self, chart: Chart, filters: Filters, cuts: Cuts) -> dict[str, Any]:
        try:
            answer = measure(self._cursor(), chart.metrics, chart.by, filters, chart.limit, cuts)
        except TooManyRows as error:  # of this chart; the view's others have answers
            return {"columns": [*chart.by, *chart.metrics], "rows": [], "labels": {}, "trouble": str(error)}
        found = {"columns": answer.columns, "rows": answer.rows, "labels": self.labels(answer)}
        if chart.kind == "cohorts":  # each row is a whole, however many months it has been watched for
            whole = measure(self._cursor(), ["users"], [chart.by[0]], filters)
            found["wholes"] = {_text(cohort): users for cohort, users in whole.rows if cohort is not None}
        return found

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._keeping:
            self._kept[key] = made
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return this thread's own connection."""
        if getattr(self._local, "warehouse", None) is not self._warehouse:
            self._local.warehouse = self._warehouse
            self._local.cursor = self._local.warehouse.cursor()
        found: duckdb.DuckDBPyConnection = self._local.cursor
        return found

    def _watch(self) -> None:
        waited = time.monotonic() - self._watched_at > _WATCHED_SECONDS
        self._watched_at = time.monotonic()
        if waited:
            self._wake.set()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._warehouse.refresh()
                self.trouble = ""
                self.is_loaded = True
            except Exception as error:  # whatever is wrong with a file: the next look may be luckier
                if str(error) != self.trouble:
                    _LOG.warning("the figures stay as they are: %s", error)
                self.trouble = str(error)
                if isinstance(error, _BROKEN):
                    self._replace()
            now = time.monotonic()
            watched = now - self._watched_at <= _WATCHED_SECONDS
            pause = max(_LOOK_SECONDS if watched else _IDLE_SECONDS, (now - began) / _SHARE)
            self._wake.wait(pause)
            self._wake.clear()

    def _replace(self) -> None:
        """Begin again with an empty database in place of a broken one; the next refresh fills it."""
        _LOG.warning("DuckDB's database is broken, and is replaced")
        broken, self._warehouse = self._warehouse, Warehouse(self._settings)
        self._revisions_before += broken.revision + 1
        self.is_loaded = False
        with suppress(duckdb.Error):
            broken.close()


_CHOICES = {
    "user": """SELECT u.user_id, coalesce(u.username, u.user_id) FROM users u
        LEFT JOIN (SELECT user_key, count(*) AS n FROM interactions GROUP BY user_key) USING (user_key)
        WHERE u.user_id ILIKE $words ESCAPE '\\' OR u.username ILIKE $words ESCAPE '\\'
        ORDER BY n DESC NULLS LAST, u.user_id LIMIT $count""",
    "title": """SELECT t.content_id, coalesce(t.title, t.content_id) FROM titles t
        LEFT JOIN (SELECT title_key, count(*) AS n FROM interactions GROUP BY title_key) USING (title_key)
        WHERE t.content_id ILIKE $words ESCAPE '\\' OR t.title ILIKE $words ESCAPE '\\'
        ORDER BY n DESC NULLS LAST, t.content_id LIMIT $count""",
}
_LABELS = {
    "user": "SELECT user_id, username FROM users WHERE username IS NOT NULL AND user_id IN "
    "(SELECT unnest(?::VARCHAR[]))",
    "title": "SELECT content_id, title FROM titles WHERE title IS NOT NULL AND content_id IN "
    "(SELECT unnest(?::VARCHAR[]))",
}


def _holds(chart: Chart, filters: Filters) -> list[str]:
    """Return the filters that hold for a chart, but for those of its own."""
    facts = {metric.fact for metric in needed(chart.metrics).values()}
    return sorted({name for fact in facts for name in filters.holds_for(fact)} - {*chart.always})


def _key(filters: Filters) -> tuple[Any, ...]:
    chosen = tuple(sorted((name, tuple(sorted(values))) for name, values in filters.chosen.items()))
    return chosen, filters.since, filters.until, filters.least_stars, filters.most_stars


def _text(value: Any) -> str:
    """Return a value as the page's filters have it."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
