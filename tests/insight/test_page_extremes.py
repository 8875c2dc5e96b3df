"""The dashboard's charts where there is nothing, one row, a million, and what is meant to break them."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from playwright.sync_api import Browser, Page
from tests.insight.browsing import CHARTED, browsing, figure, needs_browser, number, opened, table
from tests.insight.filling import HOSTILE, Filling, written
from tests.serve.test_serve_process import Server, server

from nextreel.events.contract import EventType
from nextreel.insight.export import write_recommendations
from nextreel.insight.views import BY_NAME, VIEWS
from nextreel.kafka.topics import create_topics
from nextreel.model.lists import SCHEMA
from nextreel.settings import Settings, load

pytestmark = [pytest.mark.slow, needs_browser]


def nothing(settings: Settings) -> None:
    """Have nobody do anything."""


def one(settings: Settings) -> None:
    """Have one user rate one movie, and be recommended another."""
    filling = Filling(settings.lake)
    filling.add("user", "u", nombre_usuario="Ana", fecha_suscripcion="2026-03-01", pais="Spain")
    filling.add("movie", "m", titulo="A", generos=["Drama"], decada_lanzamiento="1990s")
    filling.add("interaction", "i", 5.0, id_usuario="u", id_contenido="m", evento="rate", calificacion=4.0)
    filling.commit()
    recommend(settings, ["u"], ["m"])


def hostile(settings: Settings) -> None:
    """Have every text be one of `HOSTILE`."""
    filling = Filling(settings.lake)
    texts = cycle(HOSTILE)
    for n, name in enumerate(HOSTILE):
        filling.add(
            "user", name, nombre_usuario=name, pais=next(texts), grupo_edad=next(texts), fecha_suscripcion="soon"
        )
        kind: EventType = "movie" if n % 2 else "series"
        filling.add(
            kind, name, titulo=name, generos=[name], directores=[name], actores=[name], clasificacion=name,
            decada_lanzamiento=name,
        )  # fmt: skip
    for n, (user, title) in enumerate((user, title) for user in HOSTILE for title in HOSTILE):
        deed = {"id_usuario": user, "id_contenido": title, "dispositivo": next(texts)}
        filling.add("interaction", f"r{n}", n, **deed, evento="rate", calificacion=0.5 + n % 10 / 2)
        filling.add("interaction", f"c{n}", n, **deed, evento="complete")
    filling.commit()
    recommend(settings, HOSTILE, HOSTILE)


def a_million(settings: Settings) -> None:
    """Have 20,000 users do a million things with 3,000 titles."""
    rng = np.random.default_rng(5)
    n, users, titles = 1_000_000, [f"u{k:05d}" for k in range(20_000)], [f"t{k:04d}" for k in range(3_000)]
    months = [f"20{10 + k % 16}-{1 + k % 12:02d}-01" for k in range(len(users))]
    written(settings.lake, "user", {"id": users, "nombre_usuario": users, "fecha_suscripcion": months})
    genres = [[f"genre {k % 40}"] for k in range(len(titles))]
    written(settings.lake, "movie", {"id": titles, "titulo": [f"Title {t}" for t in titles], "generos": genres})
    verbs = pa.array(["play", "complete", "rate", "list", "skip"]).take(pa.array(rng.integers(0, 5, n)))
    moments = 1_300_000_000 * 10**6 + rng.integers(0, 15 * 365 * 86_400 * 10**6, n)
    deeds = {
        "id": [f"i{k}" for k in range(n)],
        "timestamp": pa.array(moments).cast(pa.timestamp("us", tz="UTC")),
        "id_usuario": pa.array(users).take(pa.array(rng.integers(0, len(users), n))),
        "id_contenido": pa.array(titles).take(pa.array((len(titles) * rng.random(n) ** 2).astype(np.int64))),
        "evento": verbs,
        "calificacion": pc.if_else(pc.equal(verbs, "rate"), pa.array(rng.integers(1, 11, n) / 2), None),
        "porcentaje_visto": rng.random(n) * 100,
    }
    written(settings.lake, "interaction", deeds)
    recommend(settings, users, titles)


def recommend(settings: Settings, users: list[str], titles: list[str]) -> None:
    """Write lists of ten at most, as an export does."""
    k, n_users = min(10, len(titles)), len(users)
    rows: dict[str, Any] = {
        "user_id": [user for user in users for _ in range(k)],
        "username": [user for user in users for _ in range(k)],
        "rank": list(range(1, k + 1)) * n_users,
        "content_id": [titles[(n + place) % len(titles)] for n in range(n_users) for place in range(k)],
        "predicted_rating": [0.5 + n % 46 / 10 for n in range(n_users * k)],
    }
    listed = pa.table(rows | {name: pa.nulls(k * n_users) for name in ("title", "type", "genres")})
    write_recommendations([listed.select(SCHEMA.names).cast(SCHEMA)], settings.exports, "a version")


WORLDS: dict[str, Callable[[Settings], None]] = {w.__name__: w for w in (nothing, one, hostile, a_million)}


@pytest.fixture(scope="module", params=WORLDS)
def world(
    request: pytest.FixtureRequest, bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Server]]:
    topics = {f"kafka.{t}": f"{request.param}-{t}" for t in ("users", "movies", "series", "interactions")}
    home = str(tmp_path_factory.mktemp(request.param))
    settings = load({"home": home, "kafka.bootstrap": bootstrap} | topics, {})
    create_topics(settings.kafka)
    WORLDS[request.param](settings)
    with server(settings) as running:
        running.until("/v1/insight/views/content", lambda status, found: status == 200 and found["loaded"])
        yield request.param, running


@pytest.fixture
def page(browser: Browser, world: tuple[str, Server]) -> Iterator[Page]:
    with browsing(browser, world[1].url, expected="503") as shown:  # there is no model
        yield shown


#: The data that each plot of the page draws, by chart.
_DRAWN = """() => Object.fromEntries([...document.querySelectorAll("section.card[data-chart]")].map((card) => {
    const drawn = echarts.getInstanceByDom(card.querySelector(".plot:not([hidden])") ?? document.body);
    const marks = (drawn?.getOption().series ?? []).flatMap((each) => each.data);
    return [card.dataset.chart, marks.filter((mark) => (mark?.value ?? mark) !== null).length];
}))"""


def test_every_chart_copes(page: Page, world: tuple[str, Server]) -> None:
    name, _ = world
    page.goto("/")
    page.get_by_role("alert").get_by_text("there is no model yet").wait_for()
    for view in [*CHARTED, "pipeline"]:
        opened(page, f"/?view={view}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
        assert page.locator("body script, main img, main iframe").count() == 0
        if view not in CHARTED:
            continue
        drawn = page.evaluate(_DRAWN)
        for chart in BY_NAME[view].charts:
            if chart.kind in ("figure", "table"):
                continue
            is_empty = page.locator(f'section[data-chart="{chart.name}"] .empty:visible').count() == 1
            assert is_empty == (drawn[chart.name] == 0), (view, chart.name)
            assert is_empty or view != "model"
            if name == "nothing":
                assert is_empty
            assert drawn[chart.name] <= chart.limit * len(chart.metrics), (view, chart.name)


def test_what_is_in_the_tables_is_what_was_sent(page: Page, world: tuple[str, Server]) -> None:
    name, _ = world
    opened(page, "/?view=content")
    expected = {"nothing": 0, "one": 1, "hostile": 2 * len(HOSTILE) ** 2, "a_million": 1_000_000}
    assert number(figure(page, "interactions")) == expected[name]
    if name == "one":
        assert table(page, "popular_titles") == {"A": ["1", "4.00 ★"]}
    if name == "hostile":
        for chart in ("popular_titles", "genres", "directors", "actors", "age_ratings"):
            shown = page.locator(f'section[data-chart="{chart}"] td:first-child')
            page.locator(f'section[data-chart="{chart}"] summary').click()
            shown.first.wait_for()
            assert {*shown.all_text_contents()} <= {*HOSTILE}, chart
            (declared,) = (each for view in VIEWS for each in view.charts if each.name == chart)
            assert shown.count() == min(declared.limit, len(HOSTILE))


@pytest.mark.parametrize("world", ["hostile"], indirect=True)
def test_a_hostile_name_is_chosen_as_any_other(page: Page) -> None:
    for name in HOSTILE:
        opened(page, f"/?{urlencode({'view': 'content', 'genre': name})}")
        assert number(figure(page, "interactions")) == 2 * len(HOSTILE), name
