import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from nextreel.errors import SettingsError
from nextreel.events.contract import EVENT_TYPES, MATURITY, EventType, event_schema, fields_of
from nextreel.events.encode import encode
from nextreel.events.world import World, WorldConfig

SMALL = WorldConfig(seed=11, n_users=300, n_movies=120, n_series=60, n_interactions=20_000, days=200)
TINY = WorldConfig(seed=1, n_users=1, n_movies=1, n_series=1, n_interactions=5, days=1)
KIDS, GROWN_UP = {"G", "PG", "TV-Y", "TV-Y7", "TV-G", "TV-PG"}, {"R", "TV-MA", "NC-17"}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def small() -> World:
    return World(SMALL)


@pytest.fixture(scope="module")
def history(world: World) -> pa.RecordBatch:
    return world.events("interaction", 0, world.size("interaction"))


class Ratings:
    """The ``rate`` events of a history: positions of users and titles, and stars; all of shape (n,)."""

    def __init__(self, world: World, history: pa.RecordBatch) -> None:
        rates = history.filter(pc.equal(history["evento"], "rate"))
        self.user = positions(rates["id_usuario"], world.user_ids)
        self.title = positions(rates["id_contenido"], world.title_ids)
        self.stars: NDArray[np.float64] = rates["calificacion"].to_numpy()


@pytest.fixture(scope="module")
def ratings(world: World, history: pa.RecordBatch) -> Ratings:
    return Ratings(world, history)


def positions(ids: pa.StringArray, known: pa.StringArray) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.index_in(ids, value_set=known).to_numpy().astype(np.int64)
    return found


def catalogue(world: World) -> list[dict[str, Any]]:
    movies = world.events("movie", 0, world.size("movie")).to_pylist()
    return [*movies, *world.events("series", 0, world.size("series")).to_pylist()]


# Repeatable, whatever is asked for


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("start", [0, 19_950])
def test_rows_do_not_depend_on_how_they_are_asked_for(small: World, event_type: EventType, start: int) -> None:
    whole = small.events(event_type, start, 100)
    parts = [World(SMALL).events(event_type, start + 37, 63), small.events(event_type, start, 37)]
    assert whole.schema == event_schema(event_type)
    assert pa.Table.from_batches([parts[1], parts[0]]) == pa.Table.from_batches([whole])


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_another_seed_is_another_world(small: World, event_type: EventType) -> None:
    other = World(replace(SMALL, seed=12)).events(event_type, 0, 50)
    assert not other.equals(small.events(event_type, 0, 50))
    assert other["id"].equals(small.events(event_type, 0, 50)["id"])


def test_a_far_stretch_and_an_empty_one(small: World) -> None:
    far = small.events("interaction", 10**10, 3)
    assert far["id"].to_pylist() == ["i10000000001", "i10000000002", "i10000000003"]
    assert small.events("user", 5, 0).num_rows == 0
    assert small.events("user", 5, 0).schema == event_schema("user")
    with pytest.raises(ValueError, match="a feed starts at row 0"):
        small.events("user", -1, 5)


# Within the contract


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("config", [SMALL, TINY, replace(TINY, n_users=40, n_interactions=0)])
def test_every_message_keeps_the_contract(config: WorldConfig, event_type: EventType) -> None:
    world = World(config)
    feed = world.events(event_type, max(0, world.size(event_type) - 700), 1500)
    for message in encode(feed).to_pylist():
        event = json.loads(message)
        assert event["type"] == event_type
        for field in fields_of(event_type):
            value = event.get(field.name)
            assert value is not None or event_type not in field.required, (field.name, event)
            assert value is None or not field.choices or value in field.choices
            if value is not None and field.kind == "number":
                assert (field.low or 0.0) <= value <= (field.high or 0.0)
        assert (event.get("evento") == "rate") == ("calificacion" in event)
        assert event_type == "interaction" or event.get("clasificacion", "PG") in MATURITY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"n_users": 0},
            "n_users = 0 is not possible in a synthetic world: it must be a whole number from 1 to",
        ),
        ({"n_movies": 1.5}, "n_movies = 1.5"),
        ({"seed": -3}, "seed = -3"),
        ({"days": True}, "days = True"),
        ({"end": datetime(2026, 1, 1)}, "end = .* it must be a time with a zone"),
        ({"live_gap": timedelta(0)}, "live_gap = .* from one microsecond"),
    ],
)
def test_refuses_impossible_worlds(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SMALL, **change)


# Time


def test_interactions_are_in_order_and_live_ones_a_gap_apart(small: World) -> None:
    near = small.events("interaction", SMALL.n_interactions - 3000, 3010)["timestamp"].to_pylist()
    assert near == sorted(near)
    assert near[2999] < SMALL.end
    assert near[3000:] == [SMALL.end + SMALL.live_gap * step for step in range(10)]
    assert small.events("interaction", 0, 1)["timestamp"][0].as_py() >= SMALL.end - timedelta(days=SMALL.days)


def test_nobody_and_nothing_is_used_before_it_joined(world: World, history: pa.RecordBatch) -> None:
    joined = world.events("user", 0, world.size("user"))["timestamp"].cast(pa.int64()).to_numpy()
    added = pa.concat_arrays([world.events("movie", 0, 600)["timestamp"], world.events("series", 0, 300)["timestamp"]])
    at = history["timestamp"].cast(pa.int64()).to_numpy()
    user, title = (
        positions(history[c], ids) for c, ids in (("id_usuario", world.user_ids), ("id_contenido", world.title_ids))
    )
    assert (joined[user] < at).all()
    assert (added.cast(pa.int64()).to_numpy()[title] < at).all()
    # Not because all had joined before: the history has newcomers among both.
    start = datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1e6
    assert 0.2 < (joined > start).mean() < 0.5
    assert (np.unique(user[joined[user] > start]).size, np.unique(title).size) > (300, 850)


def test_evenings_and_weekends_are_busiest(history: pa.RecordBatch) -> None:
    hour = Counter(pc.hour(history["timestamp"]).to_pylist())
    weekday = Counter(pc.day_of_week(history["timestamp"]).to_pylist())
    assert hour[21] > 3 * hour[10] > 3 * hour[4]
    assert weekday[5] > 1.4 * weekday[1]


def test_profiles_change_later(small: World) -> None:
    n = small.size("series")
    first = {row["id"]: row for row in small.events("series", 0, n).to_pylist()}
    second = {row["id"]: row for row in small.events("series", n, n).to_pylist()}
    assert first.keys() == second.keys()
    assert all(second[key]["timestamp"] >= SMALL.end > first[key]["timestamp"] for key in first)
    assert all(second[key]["titulo"] == first[key]["titulo"] for key in first)
    gained = [int(second[key]["numero_temporadas"]) - int(first[key]["numero_temporadas"]) for key in first]
    assert set(gained) == {0, 1}
    users = small.size("user")
    before, after = small.events("user", 0, users).to_pylist(), small.events("user", users, users).to_pylist()
    said = {row["id"]: row["generos"] for row in before}
    assert 0.2 < np.mean([row["generos"] != said[row["id"]] for row in after]) < 0.95


# Believable


def test_the_famous_are_watched_most(world: World, history: pa.RecordBatch) -> None:
    plays = history.filter(pc.is_in(history["evento"], value_set=pa.array(["play", "complete"])))
    count = np.sort(np.bincount(positions(plays["id_contenido"], world.title_ids), minlength=900))[::-1]
    assert 0.4 < count[:90].sum() / count.sum() < 0.6
    active = np.sort(np.bincount(positions(history["id_usuario"], world.user_ids), minlength=2000))
    assert active[-200:].sum() > 3 * active[:1000].sum() / 2
    assert active[1000] > 20


def test_what_happens_is_mixed_and_follows_from_liking(world: World, history: pa.RecordBatch) -> None:
    verb = np.array(history["evento"].to_pylist())
    share = {name: count / len(verb) for name, count in Counter(verb.tolist()).items()}
    assert share["rate"] == pytest.approx(0.45, abs=0.02)
    assert min(share.values()) > 0.02
    assert set(share) == {"play", "complete", "rate", "list", "skip"}
    user, title = (
        positions(history["id_usuario"], world.user_ids),
        positions(history["id_contenido"], world.title_ids),
    )
    liked = world.true_rating(user, title)
    assert liked[verb == "complete"].mean() > liked[verb == "play"].mean() + 0.5
    assert liked[verb == "play"].mean() > liked[verb == "skip"].mean() + 0.1


def test_ratings_are_spread_and_pairs_rarely_repeat(ratings: Ratings) -> None:
    assert ratings.stars.mean() == pytest.approx(3.5, abs=0.15)
    assert set(np.unique(ratings.stars)) == set(np.arange(0.5, 5.5, 0.5))
    pairs = ratings.user * 900 + ratings.title
    assert np.unique(pairs).size > 0.9 * pairs.size


def test_ratings_follow_the_truth(world: World, ratings: Ratings) -> None:
    truth = world.true_rating(ratings.user, ratings.title)
    assert np.corrcoef(truth, ratings.stars)[0, 1] > 0.85
    assert (truth - ratings.stars).std() == pytest.approx(0.46, abs=0.03)
    shuffled = np.random.default_rng(0).permutation(ratings.stars)
    assert abs(np.corrcoef(truth, shuffled)[0, 1]) < 0.02


def test_taste_explains_much_that_leniency_and_quality_do_not(world: World, ratings: Ratings) -> None:
    truth, residual = world.true_rating(ratings.user, ratings.title), ratings.stars - ratings.stars.mean()
    for _ in range(10):
        for side, size in ((ratings.user, 2000), (ratings.title, 900)):
            mean = np.bincount(side, residual, size) / (np.bincount(side, minlength=size) + 1.0)
            residual = residual - mean[side]
    noise = ratings.stars - truth
    assert np.sqrt(residual.var() - noise.var()) == pytest.approx(0.7, abs=0.08)


def test_declared_preferences_show_in_ratings(world: World) -> None:
    users, titles = world.events("user", 0, 2000).to_pylist(), catalogue(world)
    rng = np.random.default_rng(3)
    user, title = rng.integers(0, 2000, 20_000), rng.integers(0, 900, 20_000)
    truth = world.true_rating(user, title)
    for field, gain in (("generos", 0.5), ("directores", 0.6), ("actores", 0.6)):
        said = [set(row[field] or ()) for row in users]
        own = [set(row[field]) for row in titles]
        fits = np.array([bool(said[u] & own[t]) for u, t in zip(user, title, strict=True)])
        says = np.array([bool(said[u]) for u in user])
        assert truth[fits].mean() > truth[says & ~fits].mean() + gain, field
        assert 0.1 < np.mean([not s for s in said]) < 0.6


def test_age_ratings_suit_genres_and_kinds(world: World) -> None:
    titles = catalogue(world)
    family = Counter(row["clasificacion"] for row in titles if "Family" in row["generos"])
    dark = Counter(row["clasificacion"] for row in titles if row["generos"][0] in ("Horror", "Crime"))
    assert set(family) <= KIDS
    assert sum(dark[label] for label in GROWN_UP) > 0.7 * dark.total()
    assert all((row["type"] == "series") == row["clasificacion"].startswith("TV-") for row in titles)


def test_casts_decades_seasons_and_episodes(world: World) -> None:
    titles = catalogue(world)
    for row in titles:
        assert 1 <= len(row["generos"]) == len(set(row["generos"])) <= 3
        assert 1 <= len(row["directores"]) == len(set(row["directores"])) <= 2
        assert 2 <= len(row["actores"]) == len(set(row["actores"])) <= 6
    for row in titles[600:]:
        seasons, episodes = int(row["numero_temporadas"]), int(row["numero_episodios"])
        assert 1 <= seasons <= (5 if row["decada_lanzamiento"] == "2020s" else 16)
        assert 4 <= episodes / seasons <= 24
    decades = Counter(row["decada_lanzamiento"] for row in titles)
    assert decades["2010s"] > 2 * decades["1990s"] > 2 * decades["1960s"] > 0


def test_directors_keep_to_a_genre_and_actors_to_directors(world: World) -> None:
    films: dict[str, list[dict[str, Any]]] = {}
    for row in catalogue(world):
        films.setdefault(row["directores"][0], []).append(row)
    several = [rows for rows in films.values() if len(rows) >= 4]
    assert len(several) > 30
    assert all(len({row["generos"][0] for row in rows}) == 1 for rows in several)
    again = [Counter(actor for row in rows for actor in row["actores"]).most_common(1)[0][1] for rows in several]
    assert np.mean(again) > 2.0


def test_devices_differ_by_age(world: World, history: pa.RecordBatch) -> None:
    age = np.array(world.events("user", 0, 2000)["grupo_edad"].to_pylist())
    age = age[positions(history["id_usuario"], world.user_ids)]
    tv = np.array(history["dispositivo"].to_pylist()) == "tv"
    assert tv[age == "65+"].mean() > 0.5 > 0.25 > tv[age == "13-17"].mean()


def test_ids_are_in_order(small: World) -> None:
    assert small.title_ids.to_pylist()[:2] == ["m000001", "m000002"]
    assert small.title_ids.to_pylist()[120:122] == ["s000001", "s000002"]
    assert small.user_ids.to_pylist()[-1] == "u000300"
    assert small.events("interaction", 0, 1)["id"].to_pylist() == ["i00000001"]
    assert [small.size(event_type) for event_type in EVENT_TYPES] == [300, 120, 60, 20_000]
