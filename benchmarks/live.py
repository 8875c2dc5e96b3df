"""What it is worth to follow events: the next title of users, by a model as it was trained, and by it and all since.

Ratings of MovieLens are split by time: all at one moment, or each user's at one of their own. The model learns from the
earlier ones. The later ones are then taken in the order of their times: before each of four stars or more, its user's
ten best titles are asked for, twice: of a state on which nothing happens (``stale``), and of one that was told of every
later rating until then (``live``). Neither recommends what the user has rated by then. nDCG@10 of one relevant title is
1 / log2(place + 1), or 0. Users whom the model knows, and those who came after it, are told apart. Differences come
with the interval of a bootstrap over users.
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from benchmarks.recipe import Ratings, movielens
from nextreel.events.contract import fields_of
from nextreel.model.snapshot import Snapshot, by_rows
from nextreel.serve.live import Asked, Event, Live
from nextreel.serve.people import Past, Profile
from nextreel.settings import Settings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

_K = 10
_LIKED = 4.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESAMPLES = 1_000


def run(arguments: list[str]) -> dict[str, Any]:
    """Train on what was before, then live through what came after."""
    parser = argparse.ArgumentParser(prog="./run bench live")
    parser.add_argument("--movielens", type=Path, required=True, help="folder of a MovieLens data set")
    parser.add_argument("--before", type=float, default=0.8, help="share of the ratings that the model learns from")
    given = parser.parse_args(arguments)
    ratings = movielens(given.movielens)
    order = np.lexsort((ratings.title, ratings.user, ratings.at))
    share = np.arange(len(order)) / len(order)
    of_own = np.empty(len(order))
    by_user = order[np.argsort(ratings.user[order], kind="stable")]
    counts = np.bincount(ratings.user, minlength=ratings.n_users)
    of_own[by_user] = (np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)) / np.repeat(
        counts, counts
    )
    splits = {"one moment": share, "each user's own moment": of_own[order]}
    found = {
        name: _judged(given.movielens, ratings, order[at < given.before], order[at >= given.before])
        for name, at in splits.items()
    }
    return {"ours": found, "peers": {}, "ratios": {}}


def _judged(
    folder: Path, ratings: Ratings, before: NDArray[np.int64], later: NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    settings = Settings()
    data = _dataset(ratings, np.sort(before))
    titles, users = _titles(folder), pa.table({"user_id": data.user_ids})
    users = _with(users, ("username", "genres", "directors", "actors", "decades", "age_rating"))
    model = fit_model(data, settings.train, local_engine(), profiles=Profiles.of(data, users, titles))
    snapshot = Snapshot(
        by_rows(users, "user_id", data.user_ids), by_rows(titles, "content_id", data.title_ids), data.history()
    )
    stale, live = (Live("bench", model, snapshot, settings.ratings, settings.serve) for _ in range(2))
    known = set(data.user_ids.to_pylist())
    user, gain = _lived_through(ratings, later, stale, live)
    is_known = np.array([str(u) in known for u in user])
    kinds = {"known users": is_known, "users who came after": ~is_known}
    return {kind: _summary(user[rows], gain[rows]) for kind, rows in kinds.items() if rows.any()}


def _lived_through(
    ratings: Ratings, later: NDArray[np.int64], stale: Live, live: Live
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the user of each rating that was asked for, and nDCG@10 of both states, (n, 2)."""
    users, gains = [], []
    for n, row in enumerate(later.tolist()):
        name, title = str(ratings.user[row]), str(ratings.title[row])
        if ratings.stars[row] >= _LIKED:
            wanted = live.titles.ids.find(title)
            seen = live.people.ids.find(name)
            rated = np.zeros(0, np.int64) if seen is None else live.people.seen(seen)
            users.append(ratings.user[row])
            gains.append([_gain(state, name, rated, wanted) for state in (stale, live)])
        live.apply([_event(ratings, row, n)])
    return np.array(users), np.array(gains)


def _gain(state: Live, user: str, seen: NDArray[np.int64], wanted: int | None) -> float:
    row = state.people.ids.find(user)
    person = state.people.stranger(Profile(user), Past.said({})) if row is None else state.people.person(row)
    place = np.flatnonzero(state.recommend(person, seen, Asked(_K)).titles == wanted)
    return float(1 / np.log2(place[0] + 2)) if len(place) else 0.0


def _event(ratings: Ratings, row: int, n: int) -> Event:
    said = {
        "id": str(row),
        "type": "interaction",
        "timestamp": _EPOCH + timedelta(seconds=int(ratings.at[row])),
        "id_usuario": str(ratings.user[row]),
        "id_contenido": str(ratings.title[row]),
        "evento": "rate",
        "calificacion": float(ratings.stars[row]),
    }
    values = tuple(said.get(field.name) for field in fields_of("interaction"))
    return Event("interaction", values, int(ratings.at[row]) * 1000, 0, n)


def _dataset(ratings: Ratings, rows: NDArray[np.int64]) -> Dataset:
    table = pa.table(
        {
            "user_id": pa.array(ratings.user[rows]).cast(pa.string()),
            "content_id": pa.array(ratings.title[rows]).cast(pa.string()),
            "rating": ratings.stars[rows].astype(np.float64),
            "timestamp": pa.array(ratings.at[rows] * 1_000_000).cast(pa.timestamp("us", tz="UTC")),
            "source": pa.repeat("observed", len(rows)),
        }
    )
    return dataset(table, (), map(str, range(ratings.n_titles)))


def _titles(folder: Path) -> pa.Table:
    """Return the catalogue: titles of the ratings, all known from the beginning, with their genres."""
    movies = csv.read_csv(folder / "movies.csv")
    rated = np.unique(csv.read_csv(folder / "ratings.csv")["movieId"].to_numpy())
    of = dict(zip(movies["movieId"].to_pylist(), movies["genres"].to_pylist(), strict=True))
    genres = [None if "(" in of[movie] else of[movie].split("|") for movie in rated.tolist()]
    table = pa.table(
        {
            "content_id": pa.array(np.arange(len(rated))).cast(pa.string()),
            "type": pa.repeat("movie", len(rated)),
            "title": pa.array(np.arange(len(rated))).cast(pa.string()),
            "genres": pa.array(genres, pa.list_(pa.string())),
        }
    )
    return _with(table, ("directors", "actors", "decades", "age_rating"))


def _with(table: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """Return a table with columns that say nothing."""
    for name in names:
        kind = pa.string() if name in ("username", "age_rating") else pa.list_(pa.string())
        table = table.append_column(name, pa.nulls(table.num_rows, kind))
    return table.append_column("updated_at", pa.nulls(table.num_rows, pa.timestamp("us", tz="UTC")))


def _summary(user: NDArray[np.int64], gain: NDArray[np.float64]) -> dict[str, Any]:
    """Return means over asked-for titles, and the 95 % interval of their difference, users drawn with replacement."""
    _, place = np.unique(user, return_inverse=True)
    n_users = int(place.max(initial=-1)) + 1
    sums = np.bincount(place, gain[:, 1] - gain[:, 0], n_users)
    counts = np.bincount(place, minlength=n_users)
    drawn = np.random.default_rng(0).integers(0, n_users, (_RESAMPLES, n_users))
    interval = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    stale, live = gain.mean(0)
    return {
        "users": n_users,
        "titles_asked_for": len(gain),
        "stale": round(float(stale), 4),
        "live": round(float(live), 4),
        "gain": round(float(live - stale), 4),
        "gain_95": [round(float(end), 4) for end in interval],
    }


def show(result: dict[str, Any]) -> None:
    """Print one line for each kind of users."""
    for split, found in result["ours"].items():
        for who, each in found.items():
            low, high = each["gain_95"]
            print(f"  split at {split}, {who}: {each['users']:,} users, {each['titles_asked_for']:,} titles")
            print(f"    nDCG@{_K} stale {each['stale']:.4f}, live {each['live']:.4f}, {low:+.4f} to {high:+.4f} more")
