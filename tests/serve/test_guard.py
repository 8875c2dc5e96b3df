"""The rules before a route: budgets, names, encodings, HEAD, path prefix and other origins, over a real broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.serve.conftest import until_ready

from nextreel.app import create_app
from nextreel.errors import SettingsError
from nextreel.serve.keys import add_key
from nextreel.settings import ServeSettings, Settings, load

_PROXY = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Prefix": "/rec"}
#: One request, and the next after a quarter of an hour: however slow a machine is.
_SELDOM = 0.001
_ORIGIN = "https://app.example.com"


@contextmanager
def asking(settings: Settings, address: str = "127.0.0.1", **serve: Any) -> Iterator[TestClient]:
    """Ask a server with settings of its own, from an address."""
    given = settings.model_copy(update={"serve": ServeSettings(**serve)})
    with TestClient(
        create_app(given), base_url="http://127.0.0.1", client=(address, 50_000), follow_redirects=False
    ) as client:
        until_ready(client)
        yield client


def refusals(client: TestClient, **headers: str) -> dict[str, float]:
    text = client.get("/metrics", headers=headers).text.splitlines()
    samples = [each for each in text if each.startswith("nextreel_serve_requests_refused_total{")]
    return {each.split('"')[1]: float(each.rsplit(" ", 1)[1]) for each in samples}


def test_wrong_keys_are_refused_before_long(served: Settings) -> None:
    key = add_key(served.keys, "app", "read")
    assert served.serve.failed_keys_per_second > 0  # unless somebody switches it off
    with asking(served, failed_keys_per_second=_SELDOM) as client:
        asked = [client.get("/v1/popular", headers={"X-API-Key": f"nr_{n}"}) for n in range(500)]
        statuses = [answer.status_code for answer in asked]
        assert statuses == [401] + [429] * 499
        late = asked[-1]
        assert late.headers["content-type"] == "application/problem+json"
        assert late.headers["retry-after"] == "1"
        assert client.get("/v1/popular", headers={"X-API-Key": key}).status_code == 200  # of the same address
        counted = refusals(client, **{"X-API-Key": key})
        assert counted["unknown keys"] == 499
        assert counted["key"] == 1


def test_an_address_has_a_budget_before_its_key_is_looked_up(served: Settings) -> None:
    key = {"X-API-Key": add_key(served.keys, "app", "read")}
    with asking(served, address_requests_per_second=_SELDOM, failed_keys_per_second=0) as client:
        assert [client.get("/v1/popular", headers=key).status_code for _ in range(3)] == [200, 429, 429]
        assert client.get("/v1/popular", headers={"X-API-Key": "wrong"}).status_code == 429
        assert {client.get("/healthz").status_code for _ in range(20)} == {200}


def test_only_a_trusted_proxy_says_who_asks(served: Settings) -> None:
    def asked(client: TestClient) -> list[int]:
        addresses = [f"198.51.100.{n}" for n in range(5)]
        return [client.get("/v1/popular", headers={"X-Forwarded-For": each}).status_code for each in addresses]

    with asking(served, requests_per_second=_SELDOM) as client:
        assert asked(client).count(429) == 4
    with asking(served, requests_per_second=_SELDOM, trusted_proxies=["127.0.0.0/8"]) as client:
        assert asked(client) == [200] * 5
        made_up = [{"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9"} for n in range(5)]
        assert [client.get("/v1/popular", headers=each).status_code for each in made_up].count(429) == 4


def test_addresses_of_one_ipv6_network_share_a_budget(served: Settings) -> None:
    with asking(served, requests_per_second=_SELDOM, trusted_proxies=["127.0.0.1"]) as client:
        found = [
            client.get("/v1/popular", headers={"X-Forwarded-For": f"2001:db8::{n}"}).status_code for n in range(1, 6)
        ]
        assert found.count(429) == 4
        assert client.get("/v1/popular", headers={"X-Forwarded-For": "2001:db8:1::1"}).status_code == 200


def test_a_description_is_made_once_and_counts_against_its_address(served: Settings) -> None:
    with asking(served, address_requests_per_second=_SELDOM) as client:
        assert [client.get("/openapi.json").status_code for _ in range(3)] == [200, 429, 429]


def test_a_log_has_paths_as_they_were_sent(served: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "nextreel.access")
    with asking(served, access_log=True) as client:
        client.get("/v1/x%0a2026-12-01%20INFO%2010.0.0.1%20PUT%20/v1/model%20202%1b%5b31m")
    (logged,) = [each.getMessage() for each in caplog.records if "/v1/x" in each.getMessage()]
    assert "/v1/x%0a2026-12-01%20INFO%2010.0.0.1%20PUT%20/v1/model%20202%1b%5b31m 404" in logged
    assert logged.isprintable()


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_a_body_that_is_encoded_is_refused(client: TestClient, coding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = client.post("/v1/estimates", content=b'{"pairs": []}', headers=headers)
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "host", ["user@127.0.0.1", "127.0.0.1:80@evil.example", "127.0.0.1:port", "a b", "127.0.0.1/x"]
)
def test_a_host_with_more_than_a_name_is_refused(served: Settings, host: str) -> None:
    with asking(served, host="0.0.0.0", without_keys=True) as client:  # any name
        assert client.get("/v1/popular", headers={"Host": host}).status_code == 400
        assert client.get("/v1/popular", headers={"Host": "anything.example:8000"}).status_code == 200


def test_head_is_answered_wherever_get_is(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    values = {"{user_id}": "u10", "{content_id}": "t05", "{name}": "content", "{dimension}": "genre"}
    asked = {path for path, operations in paths.items() if "get" in operations}
    asked |= {"/", "/openapi.json", "/static/main.js", "/static/vendor/echarts.min.js", "/v1/titles/a%2Fb"}
    assert len(asked) > 20
    for path in sorted(asked):
        for name, value in values.items():
            path = path.replace(name, value)
        if path == "/v1/titles":
            path += "?q=title"
        if path == "/v1/insight/figures":
            path += "?metric=interactions"
        head = client.head(path)
        assert head.content == b"", path
        if path == "/v1/insight/changes":  # a stream has no end
            assert head.status_code == 200
            continue
        got = client.get(path)
        assert head.status_code == got.status_code, path
        assert {*head.headers} == {*got.headers}, path
        if path not in ("/metrics", "/v1/insight/pipeline"):  # which change from one to the next
            assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content)), path


def test_a_wrong_method_is_told_the_right_ones(client: TestClient) -> None:
    for path, allowed in (
        ("/", "GET, HEAD"),
        ("/static/main.js", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/v1/titles", "GET, HEAD, PUT"),
        ("/v1/titles/a%2Fb", "GET, HEAD"),
        ("/v1/interactions", "POST"),
    ):
        answer = client.request("DELETE", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path


def test_ids_are_as_long_as_the_contract_has_them(client: TestClient) -> None:
    for path in ("/v1/titles/{}", "/v1/users/{}/history", "/v1/users/{}/recommendations"):
        assert client.get(path.format("i" * 256)).status_code in (200, 404)
        assert client.head(path.format("i" * 200 + "%2F" + "i" * 55)).status_code in (200, 404)
        assert client.get(path.format("i" * 257)).status_code == 422


@pytest.mark.parametrize(
    ("serve", "headers", "path"),
    [
        ({"root_path": "/rec"}, {}, ""),  # the proxy takes the prefix away
        ({"root_path": "/rec"}, {}, "/rec"),  # or leaves it there
        ({"trusted_proxies": ["127.0.0.1"]}, _PROXY, ""),
    ],
)
def test_a_prefix_holds_everywhere(served: Settings, serve: dict[str, Any], headers: dict[str, str], path: str) -> None:
    with asking(served, **serve) as client:
        for each in ("/healthz", "/v1/popular", "/v1/users/u10/recommendations", "/", "/static/main.js"):
            assert client.get(path + each, headers=headers).status_code == 200, each
        assert client.get(f"{path}/openapi.json", headers=headers).json()["servers"] == [{"url": "/rec"}]
        moved = client.get(f"{path}/v1/popular/?count=3", headers=headers)
        assert (moved.status_code, moved.headers["location"]) == (307, "/rec/v1/popular?count=3")
        page = client.get(f"{path}/", headers=headers).text
        assert 'src="/' not in page
        assert 'href="/' not in page


def test_a_prefix_that_no_trusted_proxy_names_counts_for_nothing(served: Settings) -> None:
    with asking(served) as client:
        assert client.get("/v1/popular/", headers=_PROXY).headers["location"] == "/v1/popular"
    with asking(served, trusted_proxies=["127.0.0.1"]) as client:
        for wrong in ("//evil.example", "/../x", "/a b", "evil", "/" + "a" * 1_000):
            headers = {"X-Forwarded-Prefix": wrong}
            assert client.get("/v1/popular/", headers=headers).headers["location"] == "/v1/popular"


def test_other_origins_are_allowed_by_name_alone(served: Settings) -> None:
    add_key(served.keys, "app", "read")
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
    with asking(served, cors_origins=[_ORIGIN]) as client:
        answer = client.options("/v1/estimates", headers=preflight | {"Origin": _ORIGIN})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == _ORIGIN
        assert "X-API-Key" in answer.headers["access-control-allow-headers"]
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
        refused = client.get("/v1/popular", headers={"Origin": _ORIGIN})  # the page may read why
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, _ORIGIN)
        other = {"Origin": "https://evil.example"}
        answer = client.options("/v1/estimates", headers=preflight | other)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-origin" not in client.get("/healthz", headers=other).headers


def test_no_other_origin_is_allowed_by_default(client: TestClient) -> None:
    preflight = {"Origin": _ORIGIN, "Access-Control-Request-Method": "GET"}
    assert client.options("/v1/popular", headers=preflight).status_code == 405
    headers = client.get("/v1/popular", headers={"Origin": _ORIGIN}).headers
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("root_path", "rec"),
        ("root_path", "/v1"),
        ("root_path", "/../x"),
        ("trusted_proxies", "127.0.0.1, proxy.example"),
        ("cors_origins", "*"),
        ("cors_origins", "https://app.example.com/"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({f"serve.{name}": value}, {})


def test_lists_may_be_given_as_text() -> None:
    given = load({"serve.trusted_proxies": "127.0.0.1, 10.0.0.0/8"}, {"NEXTREEL_SERVE_CORS_ORIGINS": _ORIGIN}).serve
    assert (given.trusted_proxies, given.cors_origins) == (["127.0.0.1/32", "10.0.0.0/8"], [_ORIGIN])
