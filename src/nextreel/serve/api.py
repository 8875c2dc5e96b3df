"""The REST API: routes from requests to answers. What each does is said where OpenAPI shows it."""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from nextreel import __version__
from nextreel.events.arrival import latest_event_time
from nextreel.events.contract import EventType, Verb
from nextreel.ingest.rows import Rejected, read
from nextreel.serve import schemas as s
from nextreel.serve.answers import Answers, Unknown
from nextreel.serve.choices import Choice
from nextreel.serve.fast import Fast
from nextreel.serve.guard import Guard, role
from nextreel.serve.live import Asked
from nextreel.serve.people import Profile
from nextreel.serve.problems import add_handlers, problem
from nextreel.serve.serving import Serving

_ABOUT = """Recommendations that follow every event: what was watched a moment ago counts in the next answer.

Every list says the model version and the strategy that made it: `personal` (from ratings and what was watched),
`preferences` (from what a user declares) or `popular`. Errors are problem details (RFC 9457)."""

UserId = Annotated[s.Id, Path(description="a user, known or not")]
TitleId = Annotated[s.Id, Path(description="a title")]
Responses = dict[int | str, dict[str, Any]]
PROBLEM = {"model": s.Problem, "content": {"application/problem+json": {}}}
#: What any route may answer beside what it is asked for.
ERRORS: Responses = {
    code: PROBLEM | {"description": text}
    for code, text in (
        (400, "not a request of HTTP/1.1, or one that can be read in two ways"),
        (401, "no API key, or an unknown one"),
        (403, "the key's role does not allow it"),
        (414, "a target that is too long"),
        (422, "something asked for cannot be"),
        (429, "too many requests"),
        (431, "headers that are too long, or too many"),
        (503, "no model yet, or it is being loaded, Kafka does not answer, or too much is asked at a time"),
    )
}
#: What is said besides to requests that have a body.
_BODY: Responses = {
    code: PROBLEM | {"description": text}
    for code, text in (
        (400, "a body that cannot be read"),
        (413, "a body that is too long"),
        (415, "a body that is not application/json, or compressed"),
    )
}
_CONFLICT: Responses = {409: PROBLEM | {"description": "no such version, or one that cannot be used"}}
_MISSING: Responses = {404: PROBLEM | {"description": "no such title"}}


#: The namespace of event ids that are made of a user's id and an Idempotency-Key. It never changes.
_KEYED = uuid.UUID("5f0c3a52-6d0e-4c7a-9f0b-1b8f6f6c2f1d")


class Json(Response):
    """A response of data."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return JSON."""
        return orjson.dumps(content)


def make_app(serving: Serving, guard: Guard) -> FastAPI:
    """Return the API over what is served."""
    app = FastAPI(
        title="nextreel", version=__version__, description=_ABOUT, openapi_url=None, docs_url=None, redoc_url=None
    )
    add_handlers(app)

    @lru_cache(8)
    def described(root_path: str) -> bytes:
        servers = {"servers": [{"url": root_path}]} if root_path else {}
        return orjson.dumps(app.openapi() | servers)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return Response(described(request.scope.get("root_path", "")), media_type="application/json")

    @app.exception_handler(Unknown)
    async def unknown(request: Request, error: Unknown) -> Response:
        return problem(404, str(error))

    app.include_router(_reading(serving))
    app.include_router(_writing(serving))
    app.include_router(_ruling(serving))
    app.include_router(_health(serving))
    app.add_middleware(Fast, serving=serving)
    app.add_middleware(guard.middleware)
    return app


def _reading(serving: Serving) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=ERRORS, dependencies=[role("read")])
    answers: Callable[[], Answers] = serving.answers

    @router.get("/users/{user_id:path}/recommendations", response_model=s.Recommendations, tags=["recommendations"])
    async def recommendations(user_id: UserId, page: Annotated[s.ForUser, Query()]) -> Json:
        """Recommend titles to a user. Who is not known gets what is popular: there is always an answer."""
        own = answers()
        return Json(own.recommendations(user_id, page.asked(own.rows), page.explain))

    @router.post(
        "/recommendations", response_model=s.Recommendations, responses=_MISSING | _BODY, tags=["recommendations"]
    )
    async def for_anybody(wanted: s.Wanted) -> Json:
        """Recommend titles to somebody who need not be a user, or to several users together."""
        own = answers()
        likes = wanted.preferences or s.Preferences()
        profile = Profile("", None, *(getattr(likes, name) or None for name in s.Preferences.model_fields))
        choice = Choice(wanted.type, frozenset(wanted.genre), wanted.age_rating)
        page = Asked(
            wanted.count, wanted.offset, choice, own.rows(wanted.exclude), wanted.include_seen, wanted.diversity
        )
        liked = {each.content_id: each.rating for each in wanted.titles}
        return Json(own.wanted(profile, liked, wanted.users, page, wanted.explain))

    for which in ("popular", "trending", "new"):
        router.add_api_route(
            f"/{which}",
            _list_of(which, answers),
            response_model=s.Recommendations,
            tags=["recommendations"],
            summary=which.title(),
            operation_id=which,
        )

    @router.get(
        "/titles/{content_id:path}/similar", response_model=s.SimilarTitles, responses=_MISSING, tags=["titles"]
    )
    def similar(content_id: TitleId, page: Annotated[s.ForAll, Query()]) -> Json:
        """Titles like this one."""
        own = answers()
        return Json(own.similar(content_id, page.asked(own.rows), page.user_id))

    @router.get("/titles/{content_id:path}", response_model=s.TitleCard, responses=_MISSING, tags=["titles"])
    async def title(content_id: TitleId) -> Json:
        """What there is to tell of a title."""
        return Json(answers().one(content_id))

    @router.get("/titles", response_model=s.Titles, tags=["titles"])
    def search(
        q: Annotated[str, Query(min_length=1, max_length=200, description="words of the title")], count: s.Count = 10
    ) -> Json:
        """Titles whose names have all of some words, whatever their case and accents."""
        return Json(answers().search(q, count))

    @router.get("/users/{user_id:path}/history", response_model=s.History, tags=["users"])
    async def history(user_id: UserId, count: s.Count = 20, offset: Annotated[int, Query(ge=0, le=10**6)] = 0) -> Json:
        """What a user rated, watched and listed, the newest first."""
        return Json(answers().history(user_id, count, offset))

    @router.get(
        "/users/{user_id:path}/titles/{content_id:path}/why",
        response_model=s.Explanation,
        responses=_MISSING,
        tags=["users"],
    )
    async def why(user_id: UserId, content_id: TitleId) -> Json:
        """Why a title would be recommended to a user: shares that add up to 1."""
        return Json(answers().why(user_id, content_id))

    @router.post("/estimates", response_model=s.Estimates, responses=_BODY, tags=["users"])
    async def estimates(pairs: s.Pairs) -> Json:
        """The ratings that users are predicted to give to titles."""
        return Json(answers().estimates([(pair.user_id, pair.content_id) for pair in pairs.pairs]))

    @router.get("/model", response_model=s.ModelInfo, tags=["model"])
    async def model() -> Json:
        """The model that answers."""
        return Json(serving.about())

    @router.get("/models", response_model=s.Models, tags=["model"])
    def models() -> Json:
        """The versions in the store, and what was decided about them last."""
        return Json(serving.versions())

    return router


def _ruling(serving: Serving) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=ERRORS | _BODY, dependencies=[role("admin")], tags=["model"])

    @router.put("/model", status_code=202, response_model=s.Models, responses=_CONFLICT)
    def promote(given: s.Promotion) -> Json:
        """Make a version current: this server and all others load it, and answer by it as soon as it has caught up."""
        return Json(serving.promote(given.version), 202)

    return router


def _list_of(which: str, answers: Callable[[], Answers]) -> Callable[..., Any]:
    async def listed(page: Annotated[s.ForAll, Query()]) -> Json:
        own = answers()
        return Json(own.listed(which, page.asked(own.rows), page.user_id))

    listed.__doc__ = {
        "popular": "What most users watched or rated.",
        "trending": "What users watch and rate these days.",
        "new": "What came last.",
    }[which]
    return listed


def _writing(serving: Serving) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=ERRORS | _BODY, dependencies=[role("write")], tags=["events"])

    @router.post("/interactions", status_code=202, response_model=s.Accepted)
    async def interaction(given: s.Interaction, idempotency_key: s.IdempotencyKey = None) -> Json:
        """Write what a user did. The answer comes when Kafka has it; the next recommendations know of it.

        A write that was answered 503 may have been written: send it again with the same Idempotency-Key or id.
        """
        if given.event is Verb.RATE and given.rating is None:
            raise HTTPException(422, "rating is required where event is rate")
        return await _write(
            serving,
            "interaction",
            given.timestamp,
            {
                "id": given.id or event_id(given.user_id, idempotency_key),
                "id_usuario": given.user_id,
                "id_contenido": given.content_id,
                "evento": given.event,
                "calificacion": given.rating,
                "porcentaje_visto": given.percent_watched,
                "dispositivo": given.device,
            },
        )

    @router.put("/users", status_code=202, response_model=s.Accepted)
    async def user(given: s.User) -> Json:
        """Write a user, new or changed; of two events of a user the later one holds."""
        return await _write(
            serving,
            "user",
            given.timestamp,
            {
                "id": given.user_id,
                "nombre_usuario": given.username,
                "fecha_suscripcion": given.subscribed,
                "generos": given.genres or None,
                "directores": given.directors or None,
                "actores": given.actors or None,
                "decadas_favoritas": given.decades or None,
                "clasificacion": given.age_rating,
                "pais": given.country,
                "grupo_edad": given.age_group,
            },
        )

    @router.put("/titles", status_code=202, response_model=s.Accepted)
    async def title(given: s.Title) -> Json:
        """Write a movie or a series, new or changed; of two events of a title the later one holds."""
        return await _write(
            serving,
            given.type,
            given.timestamp,
            {
                "id": given.content_id,
                "titulo": given.title,
                "generos": given.genres or None,
                "directores": given.directors or None,
                "actores": given.actors or None,
                "clasificacion": given.age_rating,
                "decada_lanzamiento": given.decade,
                "numero_temporadas": given.seasons if given.type == "series" else None,
                "numero_episodios": given.episodes if given.type == "series" else None,
            },
        )

    return router


def event_id(user_id: str, idempotency_key: str | None) -> str:
    """Return the id of an interaction: the same one for the same user and key, another one without a key."""
    if idempotency_key is None:
        return f"api-{uuid.uuid4()}"
    return f"api-{uuid.uuid5(_KEYED, orjson.dumps([user_id, idempotency_key]).decode())}"


async def _write(serving: Serving, kind: EventType, at: datetime | None, event: Mapping[str, Any]) -> Json:
    """Have an event written that keeps to the contract. Raises `HTTPException` where it does not."""
    now = datetime.now(UTC)
    whole = {"type": kind, "timestamp": _iso(at or now), **event}
    said = {name: value for name, value in whole.items() if value is not None}
    try:
        read(orjson.dumps(said), "", kind, latest_event_time(now, serving.max_skew_seconds))
    except Rejected as rejected:
        raise HTTPException(422, f"{rejected.reason}: {rejected.detail}") from None
    except orjson.JSONEncodeError:
        raise HTTPException(422, "a text is not UTF-8") from None
    topic, partition, offset = await serving.writer().send(kind, said)
    return Json({"id": said["id"], "topic": topic, "partition": partition, "offset": offset}, 202)


def _iso(time: datetime) -> str:
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    try:
        return utc.astimezone(UTC).isoformat()
    except OverflowError:
        raise HTTPException(422, "timestamp is beyond the years 1 to 9999") from None


def _health(serving: Serving) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=dict[str, str])
    async def alive() -> Json:
        """Whether the process lives."""
        return Json({"status": "ok"})

    @router.get("/readyz", response_model=dict[str, str], responses={503: PROBLEM | {"description": "not ready"}})
    async def ready() -> Response:
        """Whether there is a model, and it has caught up with the topics.

        `writes` says whether writes to Kafka fail. They do not change the status: the server still answers reads.
        """
        why, writes = serving.not_ready(), "failing" if serving.write_failure() else "ready"
        if why:
            return problem(503, why, {"Retry-After": "1"}, reads="not ready", writes=writes)
        return Json({"status": "ready", "reads": "ready", "writes": writes})

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(generate_latest(serving.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
