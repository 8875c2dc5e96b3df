"""The dashboard on a million interactions and 100,000 titles, in a real browser on the same cores.

A first view is timed from the navigation of a new browser context. A filter is timed in the page, from the click that
sets it on a page at rest to the frame in which what is on the screen (1440 by 900) shows it and, beside that, in which
all charts of the view do. Users and titles are those of `benchmarks.serve`, with two people of some thousand a title;
interactions are spread over a year. There is no peer to run beside it.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from playwright.sync_api import Page, sync_playwright

from benchmarks.catalogue import GENRES, START
from benchmarks.serve import Server, stored
from nextreel.insight.export import write_recommendations
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import SCHEMAS
from nextreel.model.lists import recommendations
from nextreel.model.model import Model
from nextreel.settings import Settings, load
from nextreel.train.dataset import Dataset

_VIEWS = ("recommendations", "content", "engagement", "model")
_FILTERS = {
    "type": ["movie", "series"],
    "genre": GENRES[:6],
    "device": ["tv", "web", "phone"],
    "country": ["Spain", "France", "Peru"],
}
_YEAR = 365 * 86_400 * 10**6
_ROW_GROUP = 100_000


def run(arguments: list[str]) -> dict[str, Any]:
    """Fill a home, serve it, and look."""
    parser = argparse.ArgumentParser(prog="./run bench dashboard")
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--titles", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    browser = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("no Chromium is installed")
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap, "home": home, "train.factors": "32"}, {})
        create_topics(settings.kafka)
        store, model, data, titles = stored(settings, given.users, given.titles, given.interactions)
        _fill(settings, model, data, titles, given.interactions, store.current() or "")
        with Server(bootstrap, home) as server:
            while not server.get("/v1/insight/views/content")["loaded"]:
                time.sleep(0.1)
            first, filters, whole = _looked(server, browser, given.rounds)
            memory = psutil.Process(server.pid).memory_info()
    ordered = sorted(seconds for each in filters.values() for seconds in each)
    whole.sort()
    return {
        "ours": {
            "first_view_seconds": round(statistics.median(first), 3),
            "filter_p50_ms": round(1000 * statistics.median(ordered)),
            "filter_p95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))]),
            "all_charts_p50_ms": round(1000 * statistics.median(whole)),
            "all_charts_p95_ms": round(1000 * whole[int(0.95 * (len(whole) - 1))]),
            "filter_ms_by_view": {view: round(1000 * statistics.median(each)) for view, each in filters.items()},
            "resident_mb": round(memory.rss / 1e6),
            "private_mb": round((memory.rss - memory.shared) / 1e6),
        },
        "peers": {},
        "ratios": {},
    } | vars(given)


def _looked(server: Server, browser: str, rounds: int) -> tuple[list[float], dict[str, list[float]], list[float]]:
    """Return the seconds of first views, of filters by view, and of filters until all charts have them."""
    first: list[float] = []
    filters: dict[str, list[float]] = {view: [] for view in _VIEWS}
    whole: list[float] = []
    with sync_playwright() as playwright:
        shown = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(rounds):
            for view in _VIEWS:
                page = shown.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce").new_page()
                page.add_init_script(_CLOCK)
                began = time.perf_counter()
                page.goto(f"{server.url}/?view={view}")
                _settled(page, "")
                first.append(time.perf_counter() - began)
                for name, value in ((name, value) for name, values in _FILTERS.items() for value in values):
                    seconds, later = _filtered(page, name, value)
                    filters[view].append(seconds)
                    whole.append(later)
                page.context.close()
        shown.close()
    return first, filters, whole


#: Keeps the moment of the last click, and those at which the view says that its charts show what is asked for.
_CLOCK = """
addEventListener("click", (event) => { window.clicked = event.timeStamp; window.shown = {}; }, true);
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
    const { query, drawn } = document.querySelector("main").dataset;
    requestAnimationFrame(() => requestAnimationFrame((now) => {
        window.shown.screen ??= now - window.clicked;
        if (drawn === "true") window.shown.all ??= now - window.clicked;
    }));
}).observe(document.querySelector("main"), { attributeFilter: ["data-query", "data-drawn"] }));
"""


def _filtered(page: Page, name: str, value: str) -> tuple[float, float]:
    """Return the seconds from a filter's click to what is on the screen, and to all charts; take the filter back."""
    box = page.locator(f'.filter[data-name="{name}"]')
    box.locator("summary").click()
    choice = box.get_by_label(value, exact=True)
    choice.wait_for()
    _rested(page)
    choice.click()
    _settled(page, f"{name}={value}")
    page.wait_for_function("() => window.shown.all !== undefined")
    found = page.evaluate("() => [window.shown.screen / 1000, window.shown.all / 1000]")
    page.get_by_role("button", name="Clear all").click()
    _settled(page, "")
    return found[0], found[1]


def _rested(page: Page) -> None:
    page.wait_for_function("""() => document.querySelector("main").dataset.drawn === "true" """)


def _settled(page: Page, query: str) -> None:
    page.wait_for_function(
        """(query) => {
            const asked = document.querySelector("main").dataset.query;
            return asked !== undefined && decodeURIComponent(asked.replaceAll("+", " ")) === query
                && new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))));
        }""",
        arg=query,
    )


def _fill(settings: Settings, model: Model, data: Dataset, titles: pa.Table, n: int, version: str) -> None:
    rng = np.random.default_rng(4)
    popularity = (np.arange(data.n_titles) + 1.0) ** -0.9
    n_users = data.n_users
    people = pa.array([f"Person {number:04d}" for number in range(2_000)])
    n_titles = data.n_titles
    start = pa.array(np.arange(0, 2 * n_titles + 1, 2), pa.int32())

    def persons() -> pa.ListArray:
        return pa.ListArray.from_arrays(start, people.take(pa.array(rng.integers(0, len(people), 2 * n_titles))))

    decades = pa.array([f"{decade}s" for decade in range(1950, 2030, 10)])
    catalogue = {
        "id": titles["content_id"],
        "type": titles["type"],
        "titulo": titles["title"],
        "generos": titles["genres"],
        "directores": persons(),
        "actores": persons(),
        "clasificacion": titles["age_rating"],
        "decada_lanzamiento": decades.take(pa.array(rng.integers(0, len(decades), n_titles))),
    }
    for kind in ("movie", "series"):
        table = pa.table(catalogue)
        _write(settings, "movies" if kind == "movie" else kind, table.filter(pc.equal(table["type"], kind)))
    months = rng.integers(1, 13, n_users)
    _write(
        settings,
        "users",
        pa.table(
            {
                "id": data.user_ids,
                "type": pa.repeat("user", n_users),
                "nombre_usuario": data.user_ids,
                "pais": _any(rng, _FILTERS["country"], n_users),
                "grupo_edad": _any(rng, ["18-24", "25-34", "35-44"], n_users),
                "fecha_suscripcion": [f"2025-{month:02d}-01" for month in months.tolist()],
            }
        ),
    )
    verbs = _any(rng, ["play", "complete", "rate", "list", "skip"], n)
    stars = pa.array(rng.integers(1, 11, n) / 2)
    title = rng.choice(n_titles, n, p=popularity / popularity.sum())
    _write(
        settings,
        "interactions",
        pa.table(
            {
                "id": [f"i{number:08d}" for number in range(n)],
                "type": pa.repeat("interaction", n),
                "timestamp": pa.array(START - rng.integers(0, _YEAR, n)).cast(pa.timestamp("us", tz="UTC")),
                "id_usuario": data.user_ids.take(pa.array(rng.integers(0, n_users, n))),
                "id_contenido": data.title_ids.take(pa.array(title)),
                "evento": verbs,
                "calificacion": pc.if_else(pc.equal(verbs, "rate"), stars, None),
                "porcentaje_visto": rng.random(n) * 100,
                "dispositivo": _any(rng, _FILTERS["device"], n),
            }
        ),
    )
    users = pa.table({"user_id": data.user_ids, "username": data.user_ids})
    write_recommendations(recommendations(model, data.pairs(), users, titles, 10), settings.exports, version)


def _any(rng: np.random.Generator, values: list[str], n: int) -> pa.Array:
    return pa.array(values).take(pa.array(rng.integers(0, len(values), n)))


def _write(settings: Settings, table: str, rows: pa.Table) -> None:
    """Write rows as ingest leaves them."""
    n = len(rows)
    moments = pa.array(np.full(n, START)).cast(pa.timestamp("us", tz="UTC"))
    lineage = {
        "kafka_topic": pa.repeat(table, n),
        "kafka_partition": pa.array(np.zeros(n, np.int32)),
        "kafka_offset": pa.array(np.arange(n)),
        "kafka_timestamp": moments,
        "ingested_at": moments,
    }
    known = {name: rows[name] for name in rows.column_names} | lineage
    known.setdefault("timestamp", moments)
    schema = SCHEMAS[table]
    columns = [known.get(field.name, pa.nulls(n, field.type)) for field in schema]
    folder = Path(settings.lake) / table / "date=2026-01-01"
    folder.mkdir(parents=True)
    whole = pa.table(columns, schema=pa.schema([pa.field(f.name, f.type) for f in schema]))
    pq.write_table(whole, folder / f"{uuid4().hex}.parquet", row_group_size=_ROW_GROUP, compression="zstd")


def show(result: dict[str, Any]) -> None:
    """Print three lines."""
    own = result["ours"]
    print(f"{result['interactions']:,} interactions, {result['titles']:,} titles, {result['users']:,} users:")
    print(f"  first view {own['first_view_seconds']:.2f} s, on the screen a filter p50 "
          f"{own['filter_p50_ms']} ms, p95 {own['filter_p95_ms']} ms, in all charts {own['all_charts_p50_ms']} and "
          f"{own['all_charts_p95_ms']} ms")  # fmt: skip
    print(f"  by view {own['filter_ms_by_view']}; the server's memory {own['resident_mb']} MB, "
          f"{own['private_mb']} MB without mapped files")  # fmt: skip
