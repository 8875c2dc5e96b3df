"""What serving takes of memory: a million titles and a million users with a hundred ratings each, and each of them.

Factors are random, longer for popular titles; titles of histories are drawn by popularity (rank^-0.9). What is resident
is told twice: once the server is ready, and once it has answered so many users, whose factors and histories it then has
read. Pages of files that are mapped count, although the system may take them back. Bytes a user and a title are from
the same with half of the users, and half of the titles. There is no peer to run beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.catalogue import GENRES, START, cards, profiles
from benchmarks.serve import Server
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.model.estimate import TraitModel
from nextreel.model.model import Biases, Factors, Feedback, Model, Newcomers
from nextreel.model.ridge import Linear
from nextreel.model.snapshot import History, Snapshot
from nextreel.model.store import ModelStore
from nextreel.model.traits import Vocabulary
from nextreel.settings import load

_BLOCK_USERS = 20_000


def run(arguments: list[str]) -> dict[str, Any]:
    """Make versions of three sizes, each in a process of its own, and serve them."""
    parser = argparse.ArgumentParser(prog="./run bench memory")
    parser.add_argument("--titles", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--ratings", type=int, default=100, help="of each user")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--asked", type=int, default=20_000, help="users who are recommended to")
    given = parser.parse_args(arguments)
    whole = _measured(given)
    fewer_users = _measured(argparse.Namespace(**vars(given) | {"users": given.users // 2}))
    fewer_titles = _measured(argparse.Namespace(**vars(given) | {"titles": given.titles // 2}))
    found = {
        f"bytes_a_{who}": round((whole["answered_mb"] - less["answered_mb"]) * 1e6 / (n - n // 2))
        for who, less, n in (("user", fewer_users, given.users), ("title", fewer_titles, given.titles))
    }
    return {"ours": whole | found, "peers": {}, "ratios": {}} | vars(given)


def _measured(given: argparse.Namespace) -> dict[str, float]:
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap, "home": home}, {})
        create_topics(settings.kafka)
        made = [sys.executable, "-m", "benchmarks.memory", home, json.dumps(vars(given))]
        subprocess.run(made, check=True)  # what it takes to make is no part of what it takes to serve
        with Server(bootstrap, home) as server:
            process = psutil.Process(server.pid)
            ready = process.memory_info().rss
            for user in np.random.default_rng(1).integers(0, given.users, given.asked).tolist():
                server.get(f"/v1/users/u{user:08d}/recommendations")
            return {"ready_mb": round(ready / 1e6), "answered_mb": round(process.memory_info().rss / 1e6)}


def store(home: str, given: argparse.Namespace) -> None:
    """Make a version and have it be the current one."""
    rng = np.random.default_rng(0)
    n_users, n_titles, k = given.users, given.titles, given.factors
    popularity = (np.arange(n_titles) + 1.0) ** -0.9
    history = _history(rng, n_users, popularity / popularity.sum(), given.ratings)
    users, titles = (rng.standard_normal((n, k), np.float32) for n in (n_users, n_titles))
    titles *= (0.3 * popularity**0.3).astype(np.float32)[:, None]
    factors, bias, average = Linear.zero(0, k), Linear.zero(0, 1), np.zeros(k, np.float32)
    says_nothing = TraitModel(Vocabulary(pa.array([], pa.string())), factors, factors, bias, average)
    model = Model(
        user_ids=pa.array([f"u{n:08d}" for n in range(n_users)]),
        title_ids=pa.array([f"t{n:08d}" for n in range(n_titles)]),
        biases=Biases(3.5, np.zeros(n_users, np.float32), np.zeros(n_titles, np.float32)),
        rating_factors=Factors(users, titles),
        ranking_factors=Factors(users, titles),
        popularity=np.bincount(history.titles, minlength=n_titles).astype(np.float32),
        activity=np.diff(history.start),
        feedback=Feedback(2.5, 3.0, 0.8, 0.15, 5.0),
        newcomers=Newcomers(says_nothing, says_nothing),
    )
    liked, genres = np.arange(n_users) % len(GENRES), rng.integers(0, len(GENRES), 2 * n_titles)
    snapshot = Snapshot(
        profiles(model.user_ids, liked), cards(model.title_ids, np.arange(0, 2 * n_titles + 1, 2), genres, rng), history
    )
    versions = ModelStore(load({"home": home}, {}).models)
    versions.promote(versions.save(model, {"kafka_offsets": {}}, snapshot=snapshot))


def _history(rng: np.random.Generator, n_users: int, shares: NDArray[np.float64], n_ratings: int) -> History:
    """Return what users rated, each title once: about ``n_ratings`` of each user."""
    counts, titles = [], []
    below = np.cumsum(shares)
    for begin in range(0, n_users, _BLOCK_USERS):
        n = min(_BLOCK_USERS, n_users - begin)
        drawn = np.minimum(np.searchsorted(below, rng.random(n * n_ratings * 3 // 2)), len(shares) - 1)
        pairs = np.unique(rng.integers(0, n, len(drawn)) * len(shares) + drawn)
        pairs = np.sort(rng.choice(pairs, min(len(pairs), n * n_ratings), replace=False))
        counts.append(np.bincount(pairs // len(shares), minlength=n))
        titles.append((pairs % len(shares)).astype(np.int32))
    start = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    m = int(start[-1])
    stars = rng.integers(1, 11, m, dtype=np.int8) / np.float32(2)
    times = START - rng.integers(0, 365 * 86_400 * 10**6, m)
    return History(start, np.concatenate(titles), stars.astype(np.float32), np.ones(m, np.bool_), times)


def show(result: dict[str, Any]) -> None:
    """Print two lines."""
    own = result["ours"]
    print(f"{result['titles']:,} titles, {result['users']:,} users with {result['ratings']} ratings each, resident:")
    print(f"  ready {own['ready_mb']:,} MB, {result['asked']:,} users answered {own['answered_mb']:,} MB")
    print(f"  {own['bytes_a_user']:,} bytes a user, {own['bytes_a_title']:,} bytes a title")


if __name__ == "__main__":
    store(sys.argv[1], argparse.Namespace(**json.loads(sys.argv[2])))
