"""Requests that nobody means well with: random ones, from a seed."""

import json
from typing import Any
from urllib.parse import quote

import numpy as np

_words = str.split
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
_IDS = [*_words("u10 u00 t05 t16 nobody .. %2e%2e %00 a%2Fb é 😀 ' <script>"), "x" * 300, "' OR 1=1 --"]
#: Paths, and the method that is meant for each.
_PATHS = {
    "/v1/users/{}/recommendations": "GET",
    "/v1/users/{}/history": "GET",
    "/v1/users/{}/titles/{}/why": "GET",
    "/v1/titles/{}": "GET",
    "/v1/titles/{}/similar": "GET",
    "/v1/titles": "GET",
    "/v1/popular": "GET",
    "/v1/trending": "GET",
    "/v1/new": "GET",
    "/v1/recommendations": "POST",
    "/v1/estimates": "POST",
    "/v1/interactions": "POST",
    "/v1/users": "PUT",
    "/v1/titles ": "PUT",
    "/v1/model": "GET",
    "/healthz": "GET",
    "/readyz": "GET",
    "/metrics": "GET",
    "/openapi.json": "GET",
    "/": "GET",
    "/v1/{}": "GET",
    "/{}/../{}": "GET",
}
_NAMES = _words("count offset type genre age_rating exclude include_seen diversity explain q user_id {} x[]")
_WORDS = [*_words("0 1 10 -1 1e9 99999999999999999999 nan inf true movie Drama PG % é"), "", "\x00"]
_KEYS = _words(
    "users titles preferences content_id user_id rating event genres pairs type title exclude count directors "
    "timestamp id age_rating decade decades seasons explain diversity __proto__"
)
_SCALARS: list[Any] = [None, True, 0, -1, 1e308, 2**63, 2**70, 0.5, 5, "", "u10", "t05", "rate", "movie", "\ud800"]
_SCALARS += ["x" * 5_000, "1e400"]


def request(rng: np.random.Generator) -> tuple[str, bytes]:
    """Return a method and a whole request, of which the framing is right: a body has the length that is told."""
    path = str(rng.choice(list(_PATHS)))
    method = _PATHS[path] if rng.random() < 0.8 else str(rng.choice(_METHODS))
    path = path.strip()
    while "{}" in path:
        path = path.replace("{}", quote(str(rng.choice(_IDS)), safe="%."), 1)
    if rng.random() < 0.6:
        pairs = [f"{rng.choice(_NAMES)}={quote(str(rng.choice(_WORDS)), safe='%')}" for _ in range(rng.integers(0, 6))]
        path += "?" + "&".join(pairs)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    body = b""
    if method in ("POST", "PUT", "PATCH"):
        body = _body(rng)
        kinds = ["application/json", "text/plain", "application/json; charset=utf-7", "multipart/form-data"]
        lines += [f"Content-Type: {rng.choice(kinds, p=[0.85, 0.05, 0.05, 0.05])}", f"Content-Length: {len(body)}"]
    if rng.random() < 0.1:
        lines.append(f"X-API-Key: {'k' * int(rng.integers(0, 2_000))}")
    return method, "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


def broken(rng: np.random.Generator) -> bytes:
    """Return bytes that are no request, or one that does not end."""
    found = [
        rng.bytes(int(rng.integers(1, 2_000))),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"POST /v1/estimates HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/estimates HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n{",
        b"POST /v1/estimates HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/estimates HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ]
    return found[rng.integers(len(found))]


def _body(rng: np.random.Generator) -> bytes:
    draw = rng.random()
    if draw < 0.05:  # what is well meant, or nearly
        return json.dumps({"user_id": "u10", "content_id": "t05", "event": str(rng.choice(["play", "rate"]))}).encode()
    if draw < 0.1:
        return bytes(rng.bytes(int(rng.integers(0, 500))))
    if draw < 0.15:
        return b"[" * int(rng.integers(1, 20_000))
    if draw < 0.2:
        depth = int(rng.integers(1, 900))
        return b'{"titles":' * depth + b"1" + b"}" * depth
    if draw < 0.22:
        return json.dumps({"pairs": [{"user_id": "u10", "content_id": "t05"}] * int(rng.integers(0, 20_000))}).encode()
    return json.dumps(_value(rng, 3)).encode("utf-8", "surrogatepass")


def _value(rng: np.random.Generator, depth: int) -> Any:
    draw = rng.random()
    if depth == 0 or draw < 0.3:
        return _SCALARS[rng.integers(len(_SCALARS))]
    if draw < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.integers(0, 6))]
    return {str(rng.choice(_KEYS)): _value(rng, depth - 1) for _ in range(rng.integers(0, 8))}
