"""The dashboard's routes: figures, choices, downloads, changes, over a real server's app."""

import csv
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient
from tests.insight.filling import GENRES, Filling, random_world
from tests.serve.test_serve_process import server
from tests.waiting import until

from nextreel.app import create_app
from nextreel.insight import routes
from nextreel.insight.dashboard import Dashboard
from nextreel.insight.metrics import DIMENSION, METRICS
from nextreel.insight.query import MOST_ROWS, Filters
from nextreel.insight.routes import STATIC
from nextreel.insight.views import VIEWS
from nextreel.serve.keys import add_key
from nextreel.settings import Settings


@pytest.fixture
def filling(settings: Settings) -> Filling:
    found = Filling(settings.lake)
    random_world(found)
    found.add("movie", "odd", 0.0, titulo="=cmd|' /C calc'!A0", generos=["<script>"])
    found.add("interaction", "odd", 0.0, id_usuario="u001", id_contenido="odd", evento="play", dispositivo="@sum")
    found.commit()
    return found


@pytest.fixture
def asking(settings: Settings, filling: Filling) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        until(lambda: client.get("/v1/insight/views/content").json()["loaded"])
        yield client


def test_the_page_and_what_it_needs_come_from_here_alone(asking: TestClient) -> None:
    page = asking.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    for file in STATIC.rglob("*"):
        if file.is_file():
            got = asking.get(f"/static/{file.relative_to(STATIC).as_posix()}")
            assert got.content == file.read_bytes()
            again = asking.get(got.request.url.path, headers={"If-None-Match": got.headers["etag"]})
            assert again.status_code == 304
            if "vendor" not in file.parts and file.suffix in (".js", ".html", ".css"):
                assert "http://" not in got.text
                assert "https://" not in got.text
    assert asking.get("/static/../routes.py").status_code == 404
    assert asking.get("/static/%2e%2e/routes.py").status_code == 404


def test_a_chart_of_too_many_values_says_so_and_the_others_have_answers(
    asking: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalogue may have as many genres as titles."""
    monkeypatch.setattr("nextreel.insight.query.MOST_GROUPS", 2)
    answer = asking.get("/v1/insight/views/engagement?chart=completion_by_genre&chart=verbs&country=Spain")
    assert answer.status_code == 200, answer.text
    charts = answer.json()["charts"]
    assert charts["completion_by_genre"]["rows"] == []
    assert "more than 2 rows" in charts["completion_by_genre"]["trouble"]
    assert charts["verbs"]["rows"]


def test_definitions_name_everything(asking: TestClient) -> None:
    told = asking.get("/v1/insight/definitions").json()
    assert told["metrics"].keys() == {metric.name for metric in METRICS}
    assert told["dimensions"].keys() == DIMENSION.keys()
    assert [view["name"] for view in told["views"]] == [view.name for view in VIEWS]


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
@pytest.mark.parametrize(
    "query", ["", "genre=Drama&country=Spain", "title=there+is+none", "min_rating=4&since=2026-03-09"]
)
def test_every_view_answers(asking: TestClient, view: str, query: str) -> None:
    answer = asking.get(f"/v1/insight/views/{view}?{query}")
    assert answer.status_code == 200, answer.text
    (declared,) = (each for each in VIEWS if each.name == view)
    assert answer.json()["charts"].keys() == {chart.name for chart in declared.charts}


def test_some_charts_of_a_view_are_answered_as_all_of_them_are(asking: TestClient) -> None:
    everything = asking.get("/v1/insight/views/engagement?genre=Drama").json()["charts"]
    some = asking.get("/v1/insight/views/engagement?genre=Drama&chart=when&chart=retention").json()["charts"]
    assert some == {name: everything[name] for name in ("when", "retention")}
    refused = asking.get("/v1/insight/views/engagement?chart=when&chart=genres")
    assert (refused.status_code, refused.json()["detail"]) == (404, "engagement has no chart genres")


def test_figures_as_json_and_as_csv(asking: TestClient, filling: Filling) -> None:
    asked = "/v1/insight/figures?metric=interactions&metric=mean_rating&by=title&limit=1000"
    told = asking.get(asked).json()
    assert told["columns"] == ["title", "interactions", "mean_rating"]
    assert sum(row[1] for row in told["rows"]) == len({event["id"] for event in filling.events["interaction"]})
    assert told["labels"]["odd"] == "=cmd|' /C calc'!A0"
    text = asking.get(f"{asked}&format=csv")
    assert text.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(text.text)))
    assert lines[0] == ["title", "interactions", "mean_rating", "title_name"]
    assert len(lines) == 1 + len(told["rows"])
    assert ["odd", "1", "", "'=cmd|' /C calc'!A0"] in lines
    devices = asking.get("/v1/insight/figures?metric=interactions&by=device&format=csv").text
    assert "'@sum" in devices


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("metric=none", "metric"),
        ("metric=recommendations&by=device", "Recommendations is not known by device"),
        ("metric=titles&by=colour", "by"),
        ("metric=titles&colour=red", "colour"),
        ("metric=titles&limit=0", "limit"),
        ("metric=titles&since=yesterday", "since"),
        ("metric=titles&min_rating=9", "min_rating"),
        ("by=genre", "metric"),
        ("metric=titles&by=genre&by=genre", "twice"),
        ("metric=titles&metric=titles", "twice"),
    ],
)
def test_what_cannot_be_asked_is_said(asking: TestClient, query: str, says: str) -> None:
    answer = asking.get(f"/v1/insight/figures?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_choices_are_found_by_words(asking: TestClient) -> None:
    def found(dimension: str, words: str = "", count: int = 50) -> list[str]:
        got = asking.get(f"/v1/insight/choices/{dimension}", params={"q": words, "count": count})
        return [each["value"] for each in got.json()]

    assert set(found("genre")) == {*GENRES, "<script>"}
    assert found("genre", "dra") == ["Drama"]
    assert found("genre", "%") == []
    assert len(found("user", count=7)) == 7
    assert found("user", "U003") == ["u003"]
    assert found("title", "=CMD") == ["odd"]
    assert found("title", "_dd") == []
    assert set(found("type")) == {"movie", "series"}


def test_among_many_people_each_is_found(asking: TestClient, filling: Filling) -> None:
    cast = [f"Person {number:05d}" for number in range(MOST_ROWS + 50)]
    for number in range(0, len(cast), 100):
        filling.add("movie", f"crowd{number}", 0.0, titulo="Crowd", actores=cast[number : number + 100])
    filling.commit()
    last = cast[-1]
    until(lambda: asking.get(f"/v1/insight/choices/actor?q={last}").json() == [{"value": last, "label": last}])


def test_what_happens_is_told(asking: TestClient, filling: Filling) -> None:
    def total() -> int:
        ((n,),) = asking.get("/v1/insight/figures?metric=interactions").json()["rows"]
        return int(n)

    def revision() -> int:
        return int(asking.get("/v1/insight/views/content").json()["revision"])

    before, known = total(), revision()
    filling.add("interaction", "fresh", 1.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()
    until(lambda: revision() > known and total() == before + 1)


def test_changes_are_streamed_and_end_with_the_server(settings: Settings, filling: Filling) -> None:
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        threading.Timer(1.5, app.state.closing.set).start()
        with client.stream("GET", "/v1/insight/changes?pipeline=true") as stream:
            events = [part for part in "".join(stream.iter_text()).split("\n\n") if part.startswith("event: ")]
        told = [(event.split("\n")[0][7:], json.loads(event.split("\n")[1][6:])) for event in events]
        assert {name for name, _ in told} == {"state", "pipeline"}
        assert dict(told)["state"].keys() == {"revision", "loaded", "trouble"}
        assert {"status", "batches", "quarantine", "five_vs"} <= dict(told)["pipeline"].keys()


def test_who_only_listens_leaves_room_for_those_who_ask(settings: Settings, filling: Filling) -> None:
    with server(settings) as served:
        until(lambda: status(f"{served.url}/healthz") == 200)
        with ExitStack() as listening:
            for _ in range(routes._STREAMS):
                listening.enter_context(urlopen(f"{served.url}/v1/insight/changes")).readline()
            assert status(f"{served.url}/v1/insight/changes") == 503
            assert status(f"{served.url}/v1/insight/views/content") == 200
        until(lambda: status(f"{served.url}/v1/insight/changes") == 200)


def test_pages_that_listen_at_the_same_moment_are_bounded_too(settings: Settings, filling: Filling) -> None:
    with server(settings) as served:
        until(lambda: status(f"{served.url}/healthz") == 200)
        host, port = served.url.removeprefix("http://").split(":")
        with ExitStack() as listening:
            lines = [
                listening.enter_context(socket.create_connection((host, int(port))))
                for _ in range(routes._STREAMS + 100)
            ]
            for each in lines:
                each.sendall(b"GET /v1/insight/changes HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for each in lines:
                each.sendall(b"\r\n")
            begun = [each.recv(12) for each in lines]
            assert begun.count(b"HTTP/1.1 200") == routes._STREAMS
            assert begun.count(b"HTTP/1.1 503") == 100
        until(lambda: status(f"{served.url}/v1/insight/changes") == 200)


def status(url: str) -> int:
    try:
        with urlopen(url) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
    except URLError:
        return 0


def test_the_pipeline_tells_of_an_empty_home(settings: Settings) -> None:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        told = client.get("/v1/insight/pipeline").json()
    assert (told["batches"], told["quarantine"], told["rows"]) == ([], [], 0)


def test_figures_need_a_key_where_the_server_asks_for_keys_and_the_page_does_not(
    settings: Settings, filling: Filling
) -> None:
    key = add_key(settings.keys, "reader", "read")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert client.get("/").status_code == 200
        assert client.get("/static/main.js").status_code == 200
        for path in ("definitions", "views/content", "figures?metric=titles", "choices/user", "pipeline", "changes"):
            assert client.get(f"/v1/insight/{path}").status_code == 401
        assert client.get("/v1/insight/definitions", headers={"X-API-Key": key}).status_code == 200


def test_it_may_be_left_out(settings: Settings) -> None:
    without = settings.model_copy(update={"serve": settings.serve.model_copy(update={"dashboard": False})})
    with TestClient(create_app(without), base_url="http://127.0.0.1") as client:
        assert client.get("/").status_code == 404
        assert client.get("/v1/insight/definitions").status_code == 404


def test_a_lake_that_cannot_be_read_is_said(settings: Settings, filling: Filling) -> None:
    (*_, path) = filling.commit()
    path.write_bytes(b"no parquet")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        seen: list[dict[str, Any]] = []

        def troubled() -> bool:
            seen.append(client.get("/v1/insight/views/content").json())
            return not seen[-1]["loaded"]

        until(troubled)
        assert client.get("/healthz").status_code == 200


def test_a_broken_database_is_replaced(settings: Settings, filling: Filling) -> None:
    dashboard = Dashboard(settings, dict)
    dashboard.start()
    try:
        until(lambda: dashboard.is_loaded)
        before, revision = dashboard.ask(["interactions"], [], Filters(), 1).rows, dashboard.revision
        dashboard._warehouse._database.close()  # DuckDB refuses every statement from now on, as after a fatal error
        dashboard._warehouse._writer.close()
        dashboard._wake.set()
        until(lambda: dashboard.revision > revision and dashboard.state()["loaded"])
        assert dashboard.ask(["interactions"], [], Filters(), 1).rows == before != [(0,)]
        assert dashboard.trouble == ""
    finally:
        dashboard.close()
