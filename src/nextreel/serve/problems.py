"""Errors as problem details (RFC 9457): what went wrong and what would be right; nothing of the inside."""

import logging
import re
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from nextreel.errors import KafkaError, ModelError, WriteError
from nextreel.serve.proxies import loggable_path, route_path

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"

_NOT_WRITTEN = "Kafka did not accept the event, and it was not written. Send it again."
_PERHAPS_WRITTEN = (
    "Kafka did not acknowledge the event in time, so it may have been written. Send it again with the same "
    "Idempotency-Key, or with event_id as its id: it counts once."
)
#: Headers of every response: nothing is loaded from elsewhere, no page embeds this, no browser guesses types, and no
#: cache keeps an answer.
SECURITY_HEADERS = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Return a problem as a response."""
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail} | more
    return Response(orjson.dumps(said), status, headers, MEDIA_TYPE)


def raw_problem(status: int, detail: str) -> bytes:
    """Return a problem as a whole HTTP/1.1 response that ends its connection, for requests that no app sees."""
    response = problem(status, detail, {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None)
    headers = [*response.raw_headers, *SECURITY_HEADERS.items(), (b"connection", b"close")]
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join([*lines, b"", bytes(response.body)])


def add_handlers(app: FastAPI) -> None:
    """Have all errors of an app answered as problems."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the router names those of one route alone
            headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return problem(error.status_code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = [
            {"at": ".".join(str(part) for part in each["loc"]), "message": each["msg"], "type": each["type"]}
            for each in error.errors()[:20]
        ]
        return problem(422, "; ".join(f"{each['at']}: {each['message']}" for each in wrong)[:2000], errors=wrong)

    @app.exception_handler(ModelError)
    async def model(request: Request, error: ModelError) -> Response:
        return problem(409, str(error))

    @app.exception_handler(WriteError)
    async def unwritten(request: Request, error: WriteError) -> Response:
        detail = _PERHAPS_WRITTEN if error.may_be_written else _NOT_WRITTEN
        return problem(503, detail, {"Retry-After": "1"}, event_id=error.event_id, may_be_written=error.may_be_written)

    @app.exception_handler(KafkaError)
    async def kafka(request: Request, error: KafkaError) -> Response:
        _LOG.warning("Kafka: %s", error)
        return problem(503, "Kafka does not answer. Try again.", {"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        _LOG.error("%s %s failed", request.method, loggable_path(request.scope), exc_info=error)
        return problem(500, "The server made a mistake; its log says which.")


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Return the methods that there are for a request's path: HEAD wherever there is GET."""
    path, found = route_path(request.scope), set[str]()
    for described, operations in app.openapi()["paths"].items():
        pattern = re.sub(r"\\{[^/]*\\}", ".+", re.escape(described))
        if re.fullmatch(pattern, path):
            found.update(method.upper() for method in operations)
    return found | {"HEAD"} if "GET" in found else found or {"GET", "HEAD"}  # the page and its files are not described
