"""The dashboard's routes: its page and what that asks for. What each does is said where OpenAPI shows it."""

import asyncio
import csv
import io
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import date
from pathlib import Path as File
from typing import Annotated, Any, Literal

import duckdb
import orjson
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from nextreel.events.contract import RATING_MAX, RATING_MIN
from nextreel.insight.dashboard import Dashboard
from nextreel.insight.export import harmless
from nextreel.insight.metrics import BY_NAME as METRIC
from nextreel.insight.metrics import DIMENSION, METRICS, Metric
from nextreel.insight.query import Answer, Filters
from nextreel.insight.turns import Turns
from nextreel.insight.views import BY_NAME, VIEWS, Chart
from nextreel.serve.api import ERRORS, PROBLEM, Json
from nextreel.serve.guard import role
from nextreel.serve.problems import problem
from nextreel.serve.schemas import Text

STATIC = File(__file__).with_name("static")

#: The page asks for nothing from elsewhere, and runs no script but its own.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
_BEAT_SECONDS, _PIPELINE_SECONDS = 0.5, 1.0
#: Who only listens leaves the greater part of the server's connections to those who ask.
_STREAMS = 200


def _date_alone(value: object) -> object:
    """Refuse what would be read as seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("must be a date as 2026-03-31")
    return value


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must not name anything twice")
    return values


_UNIQUE = AfterValidator(_unique), Field(json_schema_extra={"uniqueItems": True})

Stars = Annotated[float | None, Field(ge=RATING_MIN, le=RATING_MAX)]
Day = Annotated[date | None, BeforeValidator(_date_alone)]
Values = Annotated[list[Text], Field(max_length=100)]


class _Filtering(BaseModel):
    """What every question may be filtered by, beside the dimensions."""

    model_config = ConfigDict(extra="forbid")

    since: Day = Field(None, description="first day, in UTC")
    until: Day = Field(None, description="last day, in UTC")
    min_rating: Stars = Field(None, description="least stars, given or predicted")
    max_rating: Stars = Field(None, description="most stars, given or predicted")

    def filters(self) -> Filters:
        """Return the filters that are asked for."""
        chosen = {name: getattr(self, name) for name in DIMENSION if getattr(self, name)}
        return Filters(chosen, self.since, self.until, self.min_rating, self.max_rating)


_DIMENSIONS: Any = {
    name: (Values, Field(default_factory=list, description=f"{dimension.title}: any of these values"))
    for name, dimension in DIMENSION.items()
}
FilterQuery: Any = create_model("FilterQuery", __base__=_Filtering, **_DIMENSIONS)

MetricName = Literal[*METRIC]  # type: ignore[valid-type]
DimensionName = Literal[*DIMENSION]  # type: ignore[valid-type]
ViewName = Literal[*BY_NAME]  # type: ignore[valid-type]


class _Asked(FilterQuery):
    metric: Annotated[list[MetricName], Field(min_length=1, max_length=10, description="metrics, by name"), *_UNIQUE]
    by: Annotated[
        list[DimensionName], Field(max_length=3, description="dimensions to break them down by"), *_UNIQUE
    ] = []  # noqa: RUF012
    limit: Annotated[int, Field(ge=1, le=10_000, description="rows, at the most")] = 500
    format: Literal["json", "csv"] = "json"


class _Viewed(FilterQuery):
    chart: Annotated[list[Text], Field(max_length=50, description="these charts alone")] = []  # noqa: RUF012


class Figures(BaseModel):
    """Rows of figures: the columns are the dimensions, then the metrics; what users and titles are called."""

    columns: list[str]
    rows: list[list[Any]]
    labels: dict[str, str] = {}


class _Files(StaticFiles):
    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        found = super().file_response(full_path, stat_result, scope, status_code)
        found.headers["Cache-Control"] = "no-cache"  # asked for again, and not sent again where it is the same
        return found


class _Stream(StreamingResponse):
    """Server-sent events; ``ended`` is called when they end, or did not even begin."""

    def __init__(self, events: AsyncIterator[bytes], ended: Callable[[], None]):
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def pipeline_turns() -> Turns:
    """Return turns for reads of the pipeline's state: it is read once a second at most, so what waits is short."""
    return Turns(1, 2 * _STREAMS)


def add_dashboard(app: FastAPI, dashboard: Dashboard, closing: threading.Event, turns: Turns, looks: Turns) -> None:
    """Add the dashboard to an app; streams to its page end when ``closing`` is set.

    Questions take ``turns``, reads of the pipeline's state ``looks``. The caller closes both.
    """
    router = APIRouter(prefix="/v1/insight", tags=["insight"], dependencies=[role("read")], responses=ERRORS)

    @router.get("/definitions", response_model=dict[str, Any])
    async def definitions() -> Json:
        """Every metric, dimension and view: what they are called and what they say."""
        return Json(_DEFINITIONS)

    @router.get(
        "/views/{name}", response_model=dict[str, Any], responses={404: PROBLEM | {"description": "no such chart"}}
    )
    async def view(name: ViewName, asked: Annotated[_Viewed, Query()]) -> Json:
        """The figures of a view's charts, under filters."""
        try:
            return await turns.run(lambda: Json(dashboard.view(name, asked.filters(), asked.chart)))
        except KeyError as error:
            raise HTTPException(404, error.args[0]) from None

    @router.get("/figures", response_model=Figures, responses={200: {"content": {"text/csv": {}}}})
    async def figures(asked: Annotated[_Asked, Query()]) -> Response:
        """Metrics by dimensions, under filters."""
        try:
            return await turns.run(_figures, dashboard, asked)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    @router.get("/choices/{dimension}", response_model=list[dict[str, str]])
    async def choices(
        dimension: DimensionName,
        q: Annotated[str, Query(max_length=200, description="what values contain")] = "",
        count: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Json:
        """Values that a dimension has."""
        return await turns.run(lambda: Json(dashboard.choices(dimension, q, count)))

    @router.get("/pipeline", response_model=dict[str, Any])
    async def pipeline() -> Json:
        """How the stream does: rates, lag, latency, quarantine, files."""
        return await looks.run(lambda: Json(dashboard.pipeline()))

    streams: set[object] = set()

    @router.get(
        "/changes",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}, 503: PROBLEM | {"description": "too many listen"}},
    )
    async def changes(pipeline: bool = False) -> StreamingResponse:
        """Server-sent events: `state` where figures have changed, and `pipeline` every second where asked for."""
        if len(streams) >= _STREAMS:
            raise HTTPException(503, f"{_STREAMS} pages listen already", {"Retry-After": "10"})
        streams.add(own := object())  # here: many requests may come before the first of them streams
        events = _changes(dashboard, closing, looks if pipeline else None)
        return _Stream(events, lambda: streams.discard(own))

    app.include_router(router)

    @app.exception_handler(duckdb.OutOfMemoryException)
    async def too_large(request: Request, error: duckdb.OutOfMemoryException) -> Response:
        detail = "The questions under way take more memory than insight.memory_megabytes. Filter, or ask again."
        return problem(503, detail, {"Retry-After": "5"})

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> FileResponse:
        return FileResponse(STATIC / "index.html", headers=_PAGE)

    app.mount("/static", _Files(directory=STATIC))


async def _changes(dashboard: Dashboard, closing: threading.Event, looks: Turns | None) -> AsyncIterator[bytes]:
    known: Any = None
    beats = round(_PIPELINE_SECONDS / _BEAT_SECONDS)
    beat = 0
    while not closing.is_set():
        state = dashboard.state()
        if state != known:
            known = state
            yield _event("state", state)
        if looks is not None and beat % beats == 0:
            with suppress(HTTPException):  # too many wait: this stream skips a beat
                yield await looks.run(lambda: _event("pipeline", dashboard.pipeline()))
        elif beat % 30 == 0:
            yield b": here\n\n"  # so that who has gone is noticed
        beat += 1
        await asyncio.sleep(_BEAT_SECONDS)


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _figures(dashboard: Dashboard, asked: _Asked) -> Response:
    """Return the answer to a question, as JSON or CSV."""
    answer = dashboard.ask(asked.metric, asked.by, asked.filters(), asked.limit)
    labels = dashboard.labels(answer)
    if asked.format == "csv":
        return Response(_csv(answer, labels), media_type="text/csv")
    return Json({"columns": answer.columns, "rows": answer.rows, "labels": labels})


def _csv(answer: Answer, labels: dict[str, str]) -> str:
    """Return an answer as CSV that no spreadsheet runs; users and titles have their names beside their ids."""
    named = [name for name in answer.columns if name in ("user", "title")]
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([*answer.columns, *(f"{name}_name" for name in named)])
    for row in answer.rows:
        names = [labels.get(row[answer.columns.index(name)], "") for name in named]
        lines.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in (*row, *names)])
    return text.getvalue()


def _chart(chart: Chart) -> dict[str, Any]:
    title = chart.title or METRIC[chart.metrics[0]].title
    said = {name: getattr(chart, name) for name in ("name", "kind", "metrics", "by", "note", "wide", "always", "limit")}
    return said | {"title": title}


_DEFINITIONS: dict[str, Any] = {
    "metrics": {
        m.name: {"title": m.title, "doc": m.doc, "unit": m.unit, "fact": m.fact if isinstance(m, Metric) else None}
        for m in METRICS
    },
    "dimensions": {d.name: {"title": d.title, "order": d.order} for d in DIMENSION.values()},
    "views": [
        {"name": v.name, "title": v.title, "doc": v.doc, "charts": [_chart(chart) for chart in v.charts]} for v in VIEWS
    ],
}
