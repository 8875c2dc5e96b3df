"""The REST API over a real broker: what it answers, and that events change the next answer."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient
from tests.serve.conftest import until_ready
from tests.serve.living import N_TITLES
from tests.waiting import HANG_SECONDS, until

from nextreel.app import create_app
from nextreel.serve import serving
from nextreel.settings import Settings


#: Events take effect within a tenth of a second; a test machine may be busy.
def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["content_id"] for item in answer.json()["items"]]


def recommended(client: TestClient, user: str, **parameters: Any) -> list[str]:
    return ids(client.get(f"/v1/users/{user}/recommendations", params=parameters))


def interaction(client: TestClient, user: str, title: str, event: str = "rate", **more: Any) -> Any:
    return client.post("/v1/interactions", json={"user_id": user, "content_id": title, "event": event} | more)


def test_while_a_model_is_loaded_it_is_said(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    may, load_live = threading.Event(), serving.load_live
    monkeypatch.setattr(serving, "load_live", lambda *given: may.wait(HANG_SECONDS) and load_live(*given))
    with TestClient(create_app(served), base_url="http://127.0.0.1") as asking:
        answer = asking.get("/v1/popular")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the model is being loaded")
        may.set()
        until_ready(asking)


def test_recommendations_say_where_they_come_from(client: TestClient) -> None:
    answer = client.get("/v1/users/u10/recommendations").json()
    assert (answer["strategy"], answer["known"], answer["offset"]) == ("personal", True, 0)
    assert answer["model"]
    assert [item["rank"] for item in answer["items"]] == list(range(1, 11))
    first = answer["items"][0]
    assert first["title"] == f"Title {int(first['content_id'][1:])}"
    assert (first["decade"], first["type"] in ("movie", "series")) == ("1990s", True)
    assert 0.5 <= first["predicted_rating"] <= 5
    assert [i["score"] for i in answer["items"]] == sorted((i["score"] for i in answer["items"]), reverse=True)
    assert "reason" not in first


def test_pages_follow_one_another(client: TestClient) -> None:
    whole = recommended(client, "u10", count=20)
    assert recommended(client, "u10", count=5, offset=5) == whole[5:10]


def test_who_is_not_known_gets_what_is_popular(client: TestClient) -> None:
    answer = client.get("/v1/users/nobody/recommendations").json()
    assert (answer["strategy"], answer["known"]) == ("popular", False)
    assert ids(client.get("/v1/popular")) == [item["content_id"] for item in answer["items"]]


def test_choices(client: TestClient) -> None:
    for item in client.get("/v1/users/u10/recommendations", params={"type": "series", "count": 5}).json()["items"]:
        assert item["type"] == "series"
    answer = client.get("/v1/users/u10/recommendations", params={"genre": ["War", "Comedy"], "age_rating": "PG"})
    assert {item["genres"][0] for item in answer.json()["items"]} <= {"War", "Comedy"}
    assert {item["age_rating"] for item in answer.json()["items"]} <= {"PG"}
    assert recommended(client, "u10", genre="Opera") == []
    first = recommended(client, "u10")[0]
    assert first not in recommended(client, "u10", exclude=[first, "unknown"])


def test_who_has_seen_everything_gets_an_honest_answer(client: TestClient) -> None:
    for n in range(N_TITLES):
        interaction(client, "u20", f"t{n:02d}", "play")
    until(lambda: recommended(client, "u20") == [])
    answer = client.get("/v1/users/u20/recommendations").json()
    assert (answer["strategy"], answer["known"], answer["items"]) == ("personal", True, [])
    assert len(recommended(client, "u20", include_seen=True)) == 10


def test_explanations_add_up(client: TestClient) -> None:
    for user in ("u10", "u00"):
        for item in client.get(f"/v1/users/{user}/recommendations", params={"explain": True}).json()["items"]:
            why = item["reason"]
            total = sum(each["share"] for each in why["because_of"]) + why["preferences_share"] + why["rest"]
            assert total == pytest.approx(1, abs=0.001)
    why = client.get("/v1/users/u00/titles/t03/why").json()
    assert (why["strategy"], why["reason"]["because_of"]) == ("preferences", [])
    assert [(p["trait"], p["value"]) for p in why["reason"]["preferences"]] == [("genres", "Drama")]
    seen = client.get("/v1/users/u10/history").json()["items"][0]["content_id"]
    why = client.get(f"/v1/users/u10/titles/{seen}/why").json()
    assert seen not in [each["content_id"] for each in why["reason"]["because_of"]]


def test_somebody_who_is_no_user(client: TestClient) -> None:
    liked = [{"content_id": f"t{n:02d}", "rating": 5} for n in (1, 4, 7, 10)]
    answer = client.post("/v1/recommendations", json={"titles": liked, "count": 5, "explain": True}).json()
    assert (answer["strategy"], answer["known"]) == ("personal", True)
    assert not {i["content_id"] for i in answer["items"]} & {each["content_id"] for each in liked}
    assert answer["items"][0]["reason"]["because_of"]
    answer = client.post("/v1/recommendations", json={"preferences": {"genres": ["War"]}, "count": 5}).json()
    assert answer["strategy"] == "preferences"
    assert sum(item["genres"] == ["War"] for item in answer["items"]) >= 4
    nothing = client.post("/v1/recommendations", json={}).json()
    assert (nothing["strategy"], nothing["known"], len(nothing["items"])) == ("popular", False, 10)


def test_an_evening_together(client: TestClient) -> None:
    together = client.post("/v1/recommendations", json={"users": ["u00", "u01"], "count": 12}).json()
    genres = [item["genres"][0] for item in together["items"]]
    assert genres.count("Drama") >= 3
    assert genres.count("War") >= 3


def test_similar_titles_and_cards_and_search(client: TestClient) -> None:
    answer = client.get("/v1/titles/t04/similar", params={"count": 5}).json()
    assert answer["items"][0]["similarity"] >= answer["items"][-1]["similarity"]
    assert client.get("/v1/titles/t04").json()["title"] == "Title 4"
    assert ids(client.get("/v1/titles", params={"q": "TÍTLE 39"})) == ["t39"]
    assert ids(client.get("/v1/titles", params={"q": "no such"})) == []


def test_similar_titles_for_a_user_are_those_not_seen(client: TestClient) -> None:
    seen = {each["content_id"] for each in client.get("/v1/users/u10/history", params={"count": 100}).json()["items"]}
    (title, *_) = seen
    anybody = ids(client.get(f"/v1/titles/{title}/similar", params={"count": 40}))
    unseen = ids(client.get(f"/v1/titles/{title}/similar", params={"count": 40, "user_id": "u10"}))
    assert seen & {*anybody}
    assert unseen == [each for each in anybody if each not in seen]
    everything = f"/v1/titles/{title}/similar?count=40&user_id=u10&include_seen=true"
    assert ids(client.get(everything)) == anybody


def test_ids_may_have_slashes_and_whatever_else_there_is(client: TestClient) -> None:
    user, title = "a/b?c#d é", "movies/2026/1"
    assert client.put("/v1/titles", json={"content_id": title, "type": "movie", "title": "A"}).status_code == 202
    deed = {"user_id": user, "content_id": title, "event": "rate", "rating": 4.0}
    assert client.post("/v1/interactions", json=deed).status_code == 202
    who, what = quote(user, safe=""), quote(title, safe="")
    until(lambda: client.get(f"/v1/users/{who}/history").json()["total"])
    history = client.get(f"/v1/users/{who}/history").json()
    assert (history["user_id"], history["items"][0]["content_id"]) == (user, title)
    assert client.get(f"/v1/titles/{what}").json()["content_id"] == title
    assert client.get(f"/v1/titles/{what}/similar").json()["content_id"] == title
    assert client.get(f"/v1/users/{who}/titles/{what}/why").json()["user_id"] == user
    told = client.get(f"/v1/users/{who}/recommendations").json()
    assert title not in [each["content_id"] for each in told["items"]]
    assert told["known"]


def test_predicted_ratings(client: TestClient) -> None:
    pairs = [("u10", "t01"), ("nobody", "t01"), ("u10", "missing")]
    sent = {"pairs": [{"user_id": u, "content_id": t} for u, t in pairs]}
    stars = [each["predicted_rating"] for each in client.post("/v1/estimates", json=sent).json()["items"]]
    assert 0.5 <= stars[0] <= 5
    assert 0.5 <= stars[1] <= 5
    assert stars[2] is None


# Writing


def test_what_is_watched_changes_the_next_answer(client: TestClient) -> None:
    first = recommended(client, "u10")[0]
    answer = interaction(client, "u10", first, "play", percent_watched=40, device="TV")
    assert answer.status_code == 202
    assert answer.json()["topic"].startswith("interactions")
    until(lambda: first not in recommended(client, "u10"))
    newest = client.get("/v1/users/u10/history").json()["items"][0]
    assert (newest["content_id"], newest["rated"], newest["rating"]) == (first, False, 3.0)


def test_an_interaction_that_is_sent_twice_counts_once(client: TestClient) -> None:
    at = datetime.now(UTC).isoformat()
    for _ in range(2):
        interaction(client, "u10", "t01", rating=4.5, id="mine", timestamp=at)
    until(lambda: client.get("/v1/model").json()["events_applied"] >= 2)
    history = client.get("/v1/users/u10/history", params={"count": 100}).json()["items"]
    assert [each["rating"] for each in history if each["content_id"] == "t01"] == [4.5]


def test_a_new_user_and_a_new_title(client: TestClient) -> None:
    assert client.put("/v1/users", json={"user_id": "ana", "genres": ["War"]}).status_code == 202
    until(lambda: client.get("/v1/users/ana/recommendations").json()["strategy"] == "preferences")
    title = {"content_id": "new", "type": "series", "title": "Brand New", "genres": ["War"], "seasons": "2"}
    assert client.put("/v1/titles", json=title).status_code == 202
    until(lambda: "new" in recommended(client, "ana", count=60))
    assert client.get("/v1/titles/new").json()["seasons"] == "2"
    assert ids(client.get("/v1/titles", params={"q": "brand"})) == ["new"]
    until(lambda: ids(client.get("/v1/new"))[0] == "new")


def test_trending_follows(client: TestClient) -> None:
    for n in range(30):
        interaction(client, f"u{n + 10}", "t07", "play")
    until(lambda: ids(client.get("/v1/trending"))[0] == "t07")
    assert "t07" not in ids(client.get("/v1/trending", params={"user_id": "u10"}))


# What cannot be


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/titles/missing", None, 404),
        ("GET", "/v1/titles/missing/similar", None, 404),
        ("GET", "/v1/users/u10/titles/missing/why", None, 404),
        ("GET", "/v1/users/u10/recommendations?count=0", None, 422),
        ("GET", "/v1/users/u10/recommendations?count=101", None, 422),
        ("GET", "/v1/users/u10/recommendations?offset=-1", None, 422),
        ("GET", "/v1/users/u10/recommendations?age_rating=XXX", None, 422),
        ("GET", "/v1/users/u10/recommendations?diversity=nan", None, 422),
        ("GET", "/v1/nothing", None, 404),
        ("DELETE", "/v1/titles/t01", None, 405),
        ("POST", "/v1/interactions", {"user_id": "u", "content_id": "t", "event": "rate"}, 422),
        ("POST", "/v1/interactions", {"user_id": "u", "content_id": "t", "event": "eat"}, 422),
        ("POST", "/v1/interactions", {"user_id": "u", "content_id": "t", "event": "rate", "rating": 7}, 422),
        ("POST", "/v1/interactions", {"user_id": "u", "content_id": "t", "event": "play", "x": 1}, 422),
        (
            "POST",
            "/v1/interactions",
            {"user_id": "u", "content_id": "t", "event": "play", "timestamp": "9999-12-31T23:59:59-12:00"},
            422,
        ),
        (
            "POST",
            "/v1/interactions",
            {"user_id": "u", "content_id": "t", "event": "play", "timestamp": "1764560000"},
            422,
        ),
        ("PUT", "/v1/titles", {"content_id": "n/a", "type": "movie", "title": "x"}, 422),
        ("POST", "/v1/recommendations", {"titles": [{"content_id": "missing"}]}, 404),
    ],
)
def test_problems(client: TestClient, method: str, path: str, body: dict[str, Any] | None, status: int) -> None:
    answer = client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (said["status"], said["type"]) == (status, "about:blank")
    assert said["detail"]


def test_half_a_surrogate_pair_is_refused(client: TestClient) -> None:
    for path, body in (
        ("/v1/estimates", b'{"pairs": [{"user_id": "\\ud800", "content_id": "t01"}]}'),
        ("/v1/recommendations", b'{"preferences": {"genres": ["\\ud800", "Drama"]}, "explain": true}'),
        ("/v1/interactions", b'{"user_id": "\\ud800", "content_id": "t01", "event": "play"}'),
    ):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, path


def test_an_event_that_is_too_new_is_refused(client: TestClient) -> None:
    soon, later = ((datetime.now(UTC) + timedelta(seconds=s)).isoformat() for s in (600, 1_000))
    assert interaction(client, "u10", "t01", "play", timestamp=soon).status_code == 202
    answer = interaction(client, "u10", "t01", "play", timestamp=later)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"bad timestamp: timestamp: '{later}' is later than ")


@pytest.mark.parametrize(
    ("path", "field", "value", "reason"),
    [
        ("interactions", "user_id", "x" * 257, "too long: text: 257 characters; at most 256 are allowed"),
        ("interactions", "content_id", "a\0b", "forbidden character: text: U+0000 at character 2"),
        ("interactions", "id", "🎬" * 257, "too long: text: 257 characters"),
        ("interactions", "device", "x" * 4_097, "too long: text: 4,097 characters; at most 4,096 are allowed"),
        ("users", "username", "x" * 4_097, "too long: text: 4,097 characters"),
        ("users", "genres", ["Drama"] * 101, "too long: list: 101 entries; at most 100 are allowed"),
        ("titles", "actors", ["x" * 1_025], "too long: text: 1,025 characters; at most 1,024 are allowed"),
        ("titles", "title", "\0", "forbidden character: text: U+0000 at character 1"),
    ],
)
def test_what_ingest_would_quarantine_is_refused_with_its_reason(
    client: TestClient, path: str, field: str, value: Any, reason: str
) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "interactions": {"user_id": "u10", "content_id": "t01", "event": "play"},
        "users": {"user_id": "u10"},
        "titles": {"content_id": "t01", "type": "movie", "title": "T"},
    }
    method = "POST" if path == "interactions" else "PUT"
    answer = client.request(method, f"/v1/{path}", json=bodies[path] | {field: value})
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
    assert f"body.{field}" in answer.json()["detail"]


def test_texts_at_their_bounds_are_written(client: TestClient) -> None:
    lists = {"genres": ["Drama"] * 100, "actors": ["x" * 1_024]}
    title = {"content_id": "é" * 256, "type": "movie", "title": "🎬" * 4_096}
    assert client.put("/v1/titles", json=title | lists).status_code == 202


def test_security_headers_and_metrics(client: TestClient) -> None:
    answer = client.get("/v1/popular")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = client.get("/metrics").text
    assert 'nextreel_serve_requests_total{method="GET",route="/v1/popular",status="200"}' in text
    assert "nextreel_serve_users 60.0" in text


def test_openapi_describes_every_route(client: TestClient) -> None:
    said = client.get("/openapi.json").json()
    assert "/v1/users/{user_id}/recommendations" in said["paths"]
    for path, methods in said["paths"].items():
        for method, route in methods.items():
            assert route.get("description") or route.get("summary"), f"{method} {path}"
