"""A model of many titles and genres, as processes of their own whose memory is measured.

``python -m tests.serve.many_genres train HOME N`` trains a version whose titles have N genres between them;
``… load HOME HOW N`` serves it and prints its memory. HOW says what happens after that: "nothing", events that give the
model's titles N genres ("changed"), or as many new titles ("new").
"""

import gc
import json
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import psutil
import pyarrow as pa

from nextreel.events.contract import fields_of
from nextreel.model.snapshot import Snapshot, by_rows
from nextreel.model.store import ModelStore
from nextreel.serve.choices import Choice
from nextreel.serve.live import Asked, Event
from nextreel.serve.serving import load_live
from nextreel.settings import Settings, load
from nextreel.train.dataset import Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

N_TITLES, N_USERS, N_RATINGS = 100_000, 200, 150_000
START = datetime(2026, 3, 1, tzinfo=UTC)


def train(settings: Settings, n_genres: int) -> None:
    rng = np.random.default_rng(1)
    users, titles = ([f"{kind}{n:06d}" for n in range(size)] for kind, size in (("u", N_USERS), ("t", N_TITLES)))
    strings, at = pa.list_(pa.string()), pa.timestamp("us", tz="UTC")
    ratings = pa.table(
        {
            "user_id": pa.array(users).take(pa.array(rng.integers(0, N_USERS, N_RATINGS))),
            "content_id": pa.array(titles).take(pa.array(rng.integers(0, N_TITLES, N_RATINGS))),
            "rating": rng.integers(1, 11, N_RATINGS) / 2,
            "timestamp": pa.array([START] * N_RATINGS, at),
            "source": pa.repeat("observed", N_RATINGS),
        }
    )
    data = dataset(
        ratings.group_by(["user_id", "content_id"], use_threads=False)
        .aggregate([("rating", "first"), ("timestamp", "first"), ("source", "first")])
        .rename_columns(ratings.column_names),
        users,
        titles,
    )
    cards = pa.table(
        {
            "content_id": titles,
            "type": pa.repeat("movie", N_TITLES),
            "title": titles,
            "genres": pa.array([[f"Genre {n % n_genres}"] for n in range(N_TITLES)], strings),
            **dict.fromkeys(("directors", "actors", "decades"), pa.nulls(N_TITLES, strings)),
            "age_rating": pa.nulls(N_TITLES, pa.string()),
            "updated_at": pa.array([START] * N_TITLES, at),
        }
    )
    people = pa.table(
        {
            "user_id": users,
            "username": users,
            "genres": pa.array([[f"Genre {n % n_genres}"] for n in range(N_USERS)], strings),
            **dict.fromkeys(("directors", "actors", "decades"), pa.nulls(N_USERS, strings)),
            "age_rating": pa.nulls(N_USERS, pa.string()),
            "updated_at": pa.array([START] * N_USERS, at),
        }
    )
    quick = settings.train.model_copy(update={"iterations": 2, "factors": 8})
    model = fit_model(data, quick, local_engine(), profiles=Profiles.of(data, people, cards))
    snapshot = Snapshot(
        by_rows(people, "user_id", data.user_ids), by_rows(cards, "content_id", data.title_ids), data.history()
    )
    store = ModelStore(settings.models)
    store.promote(store.save(model, {"kafka_offsets": {}}, snapshot=snapshot))


def serve(settings: Settings, how: str, n_genres: int) -> dict[str, float]:
    store = ModelStore(settings.models)
    live, _ = load_live(store, store.current() or "", settings)
    if how != "nothing":
        prefix = "t" if how == "changed" else "new"
        for n in range(N_TITLES):  # one at a time: events are not kept
            live.take([_movie(f"{prefix}{n:06d}", n, f"Genre {n % n_genres}")])
    while live.settle():
        pass
    live.rank()
    row = live.people.ids.find("u000007")
    assert row is not None
    choice = Choice(genres=frozenset({f"Genre {n_genres - 1}"}))
    listed = live.recommend(live.people.person(row), np.zeros(0, np.int64), Asked(count=5, choice=choice))
    gc.collect()
    names = [live.titles.ids.name(title) for title in listed.titles.tolist()]
    fits = len(names) > 0 and all(_fits(name, n_genres) for name in names)
    return {"mb": psutil.Process().memory_info().rss / 1e6, "fits": fits}


def _fits(name: str, n_genres: int) -> bool:
    return int(name[-6:]) % n_genres == n_genres - 1


def _movie(name: str, n: int, genre: str) -> Event:
    said = {
        "type": "movie",
        "timestamp": START + timedelta(seconds=n + 1),
        "id": name,
        "titulo": name,
        "generos": [genre],
    }
    return Event("movie", tuple(said.get(f.name) for f in fields_of("movie")), n, 0, n)


if __name__ == "__main__":
    command, home, *rest = sys.argv[1:]
    own = load({"home": home}, {})
    if command == "train":
        train(own, int(rest[0]))
    else:
        sys.stdout.write(json.dumps(serve(own, rest[0], int(rest[1]))))
