"""A short way for the question that is asked most: a user's recommendations.

FastAPI takes each request's parameters apart one by one, which costs several times what the answer does. Here they
are validated by the same model at once; whatever is not plainly right goes the long way, which says what is wrong.
"""

from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from nextreel.serve.proxies import route_path
from nextreel.serve.schemas import ForUser
from nextreel.serve.serving import Serving

#: The route, as metrics and logs name it.
ROUTE = "/v1/users/{user_id}/recommendations"
_BEFORE, _AFTER = ROUTE.split("{user_id}")
_LONGEST_ID = 256
_LISTS = frozenset(name for name, field in ForUser.model_fields.items() if "list" in str(field.annotation))
_DEFAULT = ForUser()


class Fast:
    """An app behind the short way."""

    def __init__(self, app: ASGIApp, serving: Serving):
        self._app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = self._answer(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if body is None:
            await self._app(scope, receive, send)
            return
        scope["fast_route"] = ROUTE
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: Scope) -> bytes | None:
        path = route_path(scope)
        if not (path.startswith(_BEFORE) and path.endswith(_AFTER)) or self._serving.is_waiting:
            return None
        user_id = path[len(_BEFORE) : -len(_AFTER)]
        if not user_id or "/" in user_id or len(user_id) > _LONGEST_ID:
            return None
        query = _query(scope["query_string"])
        if query is None:
            return None
        own = self._serving.answers()
        return orjson.dumps(own.recommendations(user_id, query.asked(own.rows), query.explain))


def _query(given: bytes) -> ForUser | None:
    """Return the parameters of a query; None where they are not plainly right."""
    if not given:
        return _DEFAULT
    try:
        pairs = parse_qsl(given.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=200)
        found: dict[str, str | list[str]] = {}
        for name, value in pairs:
            if name in _LISTS:
                known = found.setdefault(name, [])
                if isinstance(known, list):
                    known.append(value)
            elif name in found:
                return None
            else:
                found[name] = value
        return ForUser.model_validate(found)
    except (ValueError, ValidationError):
        return None
