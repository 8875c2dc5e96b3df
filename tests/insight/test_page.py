"""The dashboard in a real browser, on a real run: broker, Spark's ingest and training, the server's own process.

The figures on the page are held against pandas over the events themselves, read from the lake's files.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow.dataset as ds
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest
from tests.insight.browsing import (
    CHARTED,
    EVERY_VIEW,
    PATIENCE_MS,
    browsing,
    figure,
    needs_browser,
    number,
    opened,
    settle,
    table,
)
from tests.insight.filling import HOSTILE
from tests.insight.proxying import PREFIX, proxied
from tests.serve.test_serve_process import Server, server
from tests.waiting import until

from nextreel.events.world import WorldConfig
from nextreel.feed import WorldFeed
from nextreel.insight.views import VIEWS
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.publish import publish
from nextreel.settings import Settings, load
from nextreel.train.job import train

pytestmark = [pytest.mark.slow, needs_browser]

WORLD = WorldConfig(n_users=150, n_movies=80, n_series=40, n_interactions=6_000)


@pytest.fixture(scope="module")
def run(spark: SparkSession, bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that a whole run has filled."""
    topics = {f"kafka.{name}": f"page-{name}" for name in ("users", "movies", "series", "interactions")}
    home = {"home": str(tmp_path_factory.mktemp("page")), "kafka.bootstrap": bootstrap}
    settings = load(home | topics | {"train.factors": "16", "train.iterations": "5"}, {})
    create_topics(settings.kafka)
    producer = EventProducer(settings.kafka)
    feed = WorldFeed(WORLD, n_faulty=5)
    for kind, topic in topics_by_type(settings.kafka).items():
        producer.send_raw(topic, ((None, raw) for raw in feed.faulty(kind)))
        for batch in feed.history(kind):
            producer.send(topic, batch)
    producer.flush()
    ingest(spark, settings)
    publish(train(spark, settings), settings)
    return settings


@pytest.fixture(scope="module")
def served(run: Settings) -> Iterator[Server]:
    with server(run) as running:
        running.ready()
        running.until("/v1/insight/views/content", lambda status, found: status == 200 and found["loaded"])
        yield running


@pytest.fixture
def page(browser: Browser, served: Server) -> Iterator[Page]:
    with browsing(browser, served.url) as shown:
        yield shown


@pytest.fixture(scope="module")
def frames(run: Settings) -> dict[str, pd.DataFrame]:
    """The lake's tables, as any reader sees them."""
    found = {}
    for name in ("users", "movies", "series", "interactions"):
        found[name] = ds.dataset(run.lake / name, format="parquet", partitioning="hive").to_table().to_pandas()
    return found


@pytest.mark.parametrize("view", EVERY_VIEW)
@pytest.mark.parametrize("width", [1440, 390])
def test_every_view_shows_its_data(page: Page, view: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, f"/?view={view}")
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if view in CHARTED:
        (declared,) = (each for each in VIEWS if each.name == view)
        assert page.locator(".card .empty:visible").all_inner_texts() == []
        drawn = page.locator(".plot").filter(has=page.locator("canvas"))
        assert drawn.count() == sum(chart.kind not in ("figure", "table") for chart in declared.charts)
        assert not [text for text in page.locator(".figure strong").all_inner_texts() if text in ("…", "\u2013")]


@pytest.mark.parametrize("view", EVERY_VIEW)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_kept_out(page: Page, view: str, theme: str) -> None:
    page.add_init_script(f"localStorage.setItem('nextreel-theme', '{theme}')")
    opened(page, f"/?view={view}")
    page.wait_for_timeout(300)
    found = Axe().run(page).response["violations"]
    serious = [
        (each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_figures_are_what_the_events_say(page: Page, frames: dict[str, pd.DataFrame], run: Settings) -> None:
    deeds = frames["interactions"].drop_duplicates("id")
    opened(page, "/?view=content")
    assert number(figure(page, "interactions")) == len(deeds)
    ids = {*frames["movies"]["id"], *frames["series"]["id"], *deeds["id_contenido"]}
    assert number(figure(page, "titles")) == len(ids)
    rated = deeds[deeds["evento"] == "rate"].sort_values(["timestamp", "kafka_timestamp", "id"])
    newest = rated.drop_duplicates(["id_usuario", "id_contenido"], keep="last")
    assert number(figure(page, "mean_rating")) == pytest.approx(newest["calificacion"].mean(), abs=0.005)
    values = {float(stars.removesuffix(" ★")): number(n) for stars, (n,) in table(page, "rating_values").items()}
    assert values == newest["calificacion"].value_counts().to_dict()
    opened(page, "/?view=recommendations")
    lists = pd.read_csv(run.exports / "final_recommendations.csv")
    assert number(figure(page, "recommendations")) == len(lists)
    assert number(figure(page, "mean_predicted_rating")) == pytest.approx(lists["predicted_rating"].mean(), abs=0.006)
    by_title = lists.groupby("content_id")["predicted_rating"].agg(["max", "mean", "size"]).sort_values("max")
    shown = [[number(cell) for cell in cells] for cells in table(page, "max_predicted").values()]
    assert [row[0] for row in shown] == pytest.approx(by_title["max"].iloc[::-1][: len(shown)].tolist(), abs=0.006)
    assert all(highest >= mean > 0 and n >= 1 for highest, mean, n in shown)
    shares = (lists["content_id"].value_counts() / len(lists)) ** 2
    assert number(figure(page, "effective_titles")) == pytest.approx(1 / shares.sum(), abs=0.05)
    opened(page, "/?view=model")
    facts = json.loads(next(run.models.glob("*/model.json")).read_text())["evaluation"]
    assert number(figure(page, "rmse")) == pytest.approx(facts["accuracy"]["als"]["rmse"], abs=0.0005)
    assert number(figure(page, "ndcg")) == pytest.approx(facts["ranking"]["als"]["ndcg"], abs=0.0005)


@pytest.mark.parametrize("setting", ["serve.root_path=/rec", "serve.trusted_proxies=127.0.0.1"])
def test_the_page_works_under_a_prefix(browser: Browser, run: Settings, setting: str) -> None:
    """Every view behind a proxy that serves it at /rec/: page, files, API, and the stream of changes."""
    with server(run, "--set", setting) as running, proxied(running.url) as outside:
        running.ready()
        running.until("/v1/insight/views/content", lambda status, found: status == 200 and found["loaded"])
        with browsing(browser, outside + PREFIX) as page:
            for view in EVERY_VIEW:
                with page.expect_response(lambda got: "/v1/insight/changes" in got.url) as stream:
                    opened(page, f"{outside}{PREFIX}/?view={view}")
                assert stream.value.status == 200
                assert urlsplit(stream.value.url).path == f"{PREFIX}/v1/insight/changes"
            page.get_by_role("link", name="nextreel").click()
            page.wait_for_selector(".reel li")
            assert urlsplit(page.url).path == f"{PREFIX}/"


#: A filter as a user sets it, and the rows of interactions that it leaves.
FILTERS: dict[str, tuple[Callable[[Page], Any], Callable[[pd.DataFrame], pd.Series]]] = {
    "type": (lambda p: choose(p, "type", "series"), lambda d: d["title_type"] == "series"),
    "genre": (lambda p: choose(p, "genre", "Drama"), lambda d: d["genres"].map(lambda own: "Drama" in own)),
    "decade": (lambda p: choose(p, "decade", "2010s"), lambda d: d["decada_lanzamiento"] == "2010s"),
    "country": (lambda p: choose(p, "country", "Spain"), lambda d: d["pais"] == "Spain"),
    "device": (lambda p: choose(p, "device", "tv"), lambda d: d["dispositivo"] == "tv"),
    "user": (lambda p: choose(p, "user", "u000003"), lambda d: d["id_usuario"] == "u000003"),
}


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'.filter[data-name="{name}"] > summary').click()
    page.locator(f'.filter[data-name="{name}"] input[type="search"]').fill(value)
    box = page.locator(f'.filter[data-name="{name}"] label input')
    page.wait_for_function(f"""() => document.querySelectorAll('.filter[data-name="{name}"] label').length === 1""")
    box.click()


@pytest.fixture(scope="module")
def deeds(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Interactions, each with its newest user and title."""
    titles = pd.concat([frames["movies"], frames["series"]]).sort_values("timestamp").drop_duplicates("id", keep="last")
    users = frames["users"].sort_values("timestamp").drop_duplicates("id", keep="last")
    found = (
        frames["interactions"]
        .drop_duplicates("id")
        .merge(
            titles[["id", "type", "generos", "decada_lanzamiento"]].rename(
                columns={"id": "id_contenido", "type": "title_type", "generos": "genres"}
            ),
            on="id_contenido",
        )
    )
    found["genres"] = found["genres"].map(lambda own: [] if own is None else list(own))
    return found.merge(users[["id", "pais"]].rename(columns={"id": "id_usuario"}), on="id_usuario")


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_changes_the_figures_it_should(page: Page, deeds: pd.DataFrame, name: str) -> None:
    setting, kept = FILTERS[name]
    opened(page, "/?view=engagement")
    setting(page)
    settle(page)
    left = deeds[kept(deeds)]
    assert 0 < len(left) < len(deeds)
    assert number(figure(page, "viewers")) == left["id_usuario"].nunique()
    counted = {verb: number(n) for verb, (n,) in table(page, "verbs").items()}
    assert counted == left["evento"].value_counts().to_dict()
    opened(page, page.url.replace("engagement", "content"))
    assert number(figure(page, "interactions")) == len(left)


def test_stars_and_days(page: Page, deeds: pd.DataFrame) -> None:
    day = sorted(deeds["timestamp"].dt.date.unique())[20]
    opened(page, "/?view=content")
    page.locator('input[type="date"]').first.fill(day.isoformat())
    settle(page)
    assert number(figure(page, "interactions")) == (deeds["timestamp"].dt.date >= day).sum()
    page.locator('.filter[data-name="stars"] > summary').click()
    page.locator('.filter[data-name="stars"] select').first.select_option("4")
    settle(page)
    assert min(float(stars.removesuffix(" ★")) for stars in table(page, "rating_values")) == 4.0


def test_a_click_on_a_mark_filters_the_rest_and_again_no_more(page: Page, deeds: pd.DataFrame) -> None:
    opened(page, "/?view=engagement")
    everything = figure(page, "viewers")
    page.locator('[data-chart="devices"] .plot').scroll_into_view_if_needed()
    mark = page.evaluate(
        """() => {
            const place = document.querySelector('[data-chart="devices"] .plot');
            const slice = echarts.getInstanceByDom(place).getModel().getSeriesByIndex(0).getData();
            const at = slice.getItemLayout(1);
            const [angle, radius] = [(at.startAngle + at.endAngle) / 2, (at.r0 + at.r) / 2];
            const box = place.getBoundingClientRect();
            const [x, y] = [box.left + at.cx + radius * Math.cos(angle), box.top + at.cy + radius * Math.sin(angle)];
            return { name: slice.getName(1), x, y };
        }"""
    )
    page.mouse.click(mark["x"], mark["y"])
    settle(page)
    left = deeds[deeds["dispositivo"] == mark["name"]]
    assert f"device={mark['name']}" in page.url
    assert number(figure(page, "viewers")) == left["id_usuario"].nunique()
    assert len(table(page, "devices")) > 1  # what was left out stays to be chosen
    page.locator('section[data-chart="devices"]').get_by_role("button", name=mark["name"], exact=True).click()
    settle(page)
    assert figure(page, "viewers") == everything


def test_the_keyboard_is_enough_to_filter(page: Page, deeds: pd.DataFrame) -> None:
    opened(page, "/?view=content")
    card = page.locator('section[data-chart="types"]')
    card.locator("summary").focus()
    page.keyboard.press("Enter")
    card.get_by_role("button", name="series", exact=True).focus()
    page.keyboard.press("Enter")
    settle(page)
    assert number(figure(page, "interactions")) == (deeds["title_type"] == "series").sum()
    assert page.evaluate("document.activeElement.textContent") == "series"
    page.get_by_role("link", name="Engagement").focus()
    page.keyboard.press("Enter")
    settle(page)
    assert page.evaluate("document.activeElement.textContent") == "Engagement"


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString", "none"])
def test_a_view_that_there_is_not_is_the_first(page: Page, name: str) -> None:
    page.goto(f"/?view={name}")
    page.wait_for_selector(".reel li")


def test_pages_that_nobody_sees_leave_the_server_to_others(page: Page, served: Server) -> None:
    assert page.context.browser is not None
    with page.context.browser.new_context(base_url=served.url) as context:
        context.set_default_timeout(PATIENCE_MS)
        hidden = [context.new_page() for _ in range(7)]
        for other in hidden:  # a browser has six connections to a server
            opened(other, "/?view=content")
            other.evaluate("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
            other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        opened(context.new_page(), "/?view=content")
        hidden[0].evaluate("delete document.hidden")
        with hidden[0].expect_request("**/v1/insight/changes"):
            hidden[0].evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_figures_that_were_older_than_the_first_word_are_asked_for_again(page: Page) -> None:
    def early(route: Route) -> None:
        answer = route.fetch().json()
        route.fulfill(json=answer | {"loaded": False, "revision": 0})

    page.route("**/v1/insight/views/content*", early, times=1)
    opened(page, "/?view=content")
    page.wait_for_function("() => document.querySelector('main').dataset.revision !== '0'")


def test_a_word_of_newer_figures_while_older_ones_are_drawn_is_followed_once(page: Page) -> None:
    words: list[Route] = []
    answers: list[Route] = []

    def answer(route: Route) -> None:
        answers.append(route)
        if len(answers) == 1:
            route.fulfill(json=route.fetch().json() | {"loaded": False, "revision": 0})
        elif len(answers) > 2:
            route.continue_()

    page.route("**/v1/insight/changes*", lambda route: words.append(route), times=1)
    page.route("**/v1/insight/views/content*", answer)
    page.goto("/?view=content")
    page.wait_for_function("() => document.querySelector('main').dataset.revision === '0'")
    words[0].continue_()
    page.wait_for_selector("#state.live")
    answers[1].continue_()  # the charts that are out of sight
    page.wait_for_function("() => document.querySelector('main').dataset.revision !== '0'")
    settle(page)
    assert len(answers) == 4


def test_a_panel_stays_as_it_is_while_one_chooses(page: Page, deeds: pd.DataFrame) -> None:
    opened(page, "/?view=content")
    choose(page, "genre", "Drama")
    settle(page)
    panel = page.locator('.filter[data-name="genre"]')
    assert panel.locator('input[type="search"]').input_value() == "Drama"
    assert panel.locator("summary").inner_text().strip() == "Genre: Drama"
    assert page.evaluate("document.activeElement.value") == "Drama"
    page.keyboard.press("Space")  # again, and no more
    settle(page)
    assert panel.locator("summary").inner_text().strip() == "Genre"
    assert number(figure(page, "interactions")) == len(deeds)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.closest('details').dataset.name") == "genre"
    assert panel.get_attribute("open") is None


def test_choices_that_come_twice_leave_the_focus_where_it_is(page: Page) -> None:
    opened(page, "/?view=content")
    choose(page, "genre", "Drama")
    with page.expect_response("**/choices/genre?*"):
        page.locator('.filter[data-name="genre"] input[type="search"]').dispatch_event("input")
    page.wait_for_timeout(50)
    assert page.evaluate("document.activeElement.value") == "Drama"


def test_what_does_not_know_a_filter_says_so(page: Page) -> None:
    opened(page, "/?view=recommendations&device=tv")
    assert "not filtered by device" in page.locator('section[data-chart="most_recommended"]').inner_text()
    assert "not filtered" not in page.locator('section[data-chart="profiles"]').inner_text()


def test_reload_and_back_keep_what_was_looked_at(page: Page) -> None:
    opened(page, "/?view=content")
    before = figure(page, "interactions")
    choose(page, "type", "movie")
    settle(page)
    filtered = figure(page, "interactions")
    assert filtered != before
    page.get_by_role("link", name="Engagement").click()
    settle(page)
    assert "type=movie" in page.url
    page.reload()
    settle(page)
    assert "type=movie" in page.url
    page.go_back()
    settle(page)
    assert figure(page, "interactions") == filtered
    page.go_back()
    settle(page)
    assert figure(page, "interactions") == before


def test_a_charts_figures_can_be_had_as_a_file(page: Page, deeds: pd.DataFrame) -> None:
    opened(page, "/?view=engagement&type=series")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download Devices as CSV").click()
    found = pd.read_csv(waiting.value.path())
    left = deeds[deeds["title_type"] == "series"]
    assert (
        dict(zip(found["device"], found["interactions"], strict=True)) == left["dispositivo"].value_counts().to_dict()
    )


def test_playing_a_title_changes_the_users_rows_through_kafka(page: Page) -> None:
    opened(page, "/?view=foryou&person=u000005")
    top = page.locator(".reel").first.locator("li")
    first = top.first.get_attribute("data-title")
    before = [item.get_attribute("data-title") for item in top.all()]
    top.first.get_by_role("button").click()
    page.wait_for_function("""(title) => document.querySelector(".reel li").dataset.title !== title""", arg=first)
    after = [item.get_attribute("data-title") for item in page.locator(".reel").first.locator("li").all()]
    assert first not in after
    assert after != before
    history = page.request.get("/v1/users/u000005/history").json()["items"]
    assert history[0]["content_id"] == first


def test_a_stranger_says_what_they_like(page: Page) -> None:
    opened(page, "/?view=foryou")
    page.get_by_role("button", name="Comedy", exact=True).click()
    page.wait_for_function("() => document.querySelector('.reel').dataset.strategy === 'preferences'")
    shown = [item.get_attribute("data-title") for item in page.locator(".reel").first.locator("li").all()]
    wanted = {"preferences": {"genres": ["Comedy"]}, "count": len(shown)}
    told = page.request.post("/v1/recommendations", data=wanted).json()
    assert shown == [each["content_id"] for each in told["items"]]
    assert page.get_by_role("button", name="Play").count() == 0  # whoever is nobody writes nothing
    assert page.url.endswith("like=Comedy")
    page.reload()
    settle(page)
    assert [item.get_attribute("data-title") for item in page.locator(".reel").first.locator("li").all()] == shown
    assert page.locator("[data-genre=Comedy]").get_attribute("aria-pressed") == "true"
    page.go_back()
    page.wait_for_function("() => document.querySelector('.reel').dataset.strategy === 'personal'")
    assert page.locator("[data-genre=Comedy]").get_attribute("aria-pressed") == "false"


def test_whatever_a_title_is_called_it_is_shown_as_text(page: Page) -> None:
    opened(page, "/?view=foryou&person=u000007")
    # Of every genre, so that they are new in whichever is the user's favourite once they are known.
    genres = [each["value"] for each in page.request.get("/v1/insight/choices/genre?count=50").json()]
    names = HOSTILE[:9]
    for n, name in enumerate(names):
        told = {
            "content_id": f"hostile{n}",
            "type": "movie",
            "title": name,
            "genres": [*genres, name],
            "directors": [name],
        }
        assert page.request.put("/v1/titles", data=told).ok
    page.wait_for_function(
        """([genre, n]) => fetch(`/v1/new?count=20&genre=${genre}`).then((answer) => answer.json())
            .then(({ items }) => items.filter((each) => each.content_id.startsWith("hostile")).length === n)""",
        arg=[genres[0], len(names)],
    )

    def shown() -> bool:
        page.reload()
        settle(page)
        return page.locator('[data-title="hostile0"]').count() > 0

    until(shown, lambda: (genres, page.locator(".reel").all_inner_texts()), pause=1.0)
    for n, name in enumerate(names):
        assert page.locator(f'[data-title="hostile{n}"] b').first.text_content() == name
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440


def test_a_user_is_found_by_words(page: Page) -> None:
    opened(page, "/?view=foryou")
    page.get_by_role("combobox", name="User").fill("u000042")
    page.wait_for_selector("#people li:only-child")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("() => new URLSearchParams(location.search).get('person') === 'u000042'")
    settle(page)


def test_when_the_server_is_gone_the_page_says_that_figures_are_stale(browser: Browser, run: Settings) -> None:
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MS)
        with server(run) as doomed:
            doomed.until("/v1/insight/views/content", lambda status, found: status == 200 and found["loaded"])
            shown = context.new_page()
            opened(shown, f"{doomed.url}/?view=content")
            before = figure(shown, "interactions")
            shown.wait_for_selector("#state.live")
        shown.wait_for_selector("#state.stale")
        assert figure(shown, "interactions") == before


def test_what_the_network_loses_is_told_and_asked_for_again(browser: Browser, served: Server) -> None:
    with browsing(browser, served.url, expected="net::ERR_FAILED") as page:

        @contextmanager
        def losing(path: str, place: str) -> Iterator[None]:
            page.route(f"**/v1/insight/{path}", lambda route: route.abort())
            yield
            page.locator(place).get_by_text("The server does not answer.").wait_for()
            page.unroute(f"**/v1/insight/{path}")

        with losing("definitions", "#main > .banner.trouble"):
            page.goto("/?view=content")
        settle(page)
        assert page.get_by_role("alert").count() == 0

        with losing("choices/genre?*", '.filter[data-name="genre"] .panel'):
            page.locator('.filter[data-name="genre"] > summary').click()
        page.locator('.filter[data-name="genre"] input[type="search"]').fill("Drama")
        page.locator('.filter[data-name="genre"] label').get_by_text("Drama").wait_for()

        with losing("views/content*", "#main > .banner.trouble"):
            page.locator("#theme").click()
        settle(page)

        with losing("choices/genre?*", "#main > .banner.trouble"):
            page.get_by_role("link", name="For you").click()
        page.get_by_role("button", name="Drama", exact=True).wait_for()
        page.wait_for_selector(".reel li")
        assert page.get_by_role("alert").count() == 0
        with losing("choices/user?count=20*", "#main .title"):
            page.get_by_role("combobox", name="User").click()
