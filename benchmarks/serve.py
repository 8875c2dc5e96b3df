"""The REST API under load: recommendations of a million titles, half of them with filters, while events flow.

The server, the load and the broker share the machine. Factors are trained on ratings with a long tail
(`benchmarks.recipe`), titles have one to three of twenty genres, some far more frequent than others. In the middle of
the longest run another model version takes over. There is no peer to run beside it, so ``peers`` is empty.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.catalogue import AGES, GENRES, START, cards, profiles
from benchmarks.recipe import generated
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.model.model import Model
from nextreel.model.snapshot import Snapshot, by_rows
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

_CHECKED = 200


def run(arguments: list[str]) -> dict[str, Any]:
    """Make a model of each size, serve it, and ask."""
    parser = argparse.ArgumentParser(prog="./run bench serve")
    parser.add_argument("--titles", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=8_000_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1_000.0, help="requests a second")
    parser.add_argument("--events", type=float, default=1_000.0, help="events a second, with the most titles")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args(arguments)
    sizes = {n: _measured(n, given, n == max(given.titles)) for n in given.titles}
    largest = sizes[max(given.titles)]
    return {
        "ours": {
            **{name: largest["quiet"][name] for name in ("requests_per_second", "p50_ms", "p99_ms", "errors")},
            "exact": all(each["exact"] == 1 for each in sizes.values()),
            "by_titles": sizes,
        },
        "peers": {},
        "ratios": {},
    }


def _measured(n_titles: int, given: argparse.Namespace, with_events: bool) -> dict[str, Any]:
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap, "home": home, "train.factors": str(given.factors)}, {})
        create_topics(settings.kafka)
        store, model, data, titles = stored(settings, given.users, n_titles, given.draws)
        second = store.save(model, {"kafka_offsets": {}}, snapshot=store.load_to_serve(store.versions()[0])[1])
        paths = _paths(data, given.seconds * given.rate)
        with Server(bootstrap, home) as server:
            exact = _exactness(server, model, data, titles)
            _asked(server, paths, given.rate, 5.0, given.connections)  # warm
            found: dict[str, Any] = {
                "exact": exact,
                "quiet": _asked(server, paths, given.rate, given.seconds, given.connections),
            }
            if with_events:
                feed = [sys.executable, "-m", "benchmarks.serve", bootstrap, str(given.events), str(n_titles)]
                feeding = subprocess.Popen([*feed, str(given.users)])
                try:
                    time.sleep(2)
                    found["with_events"] = _asked(server, paths, given.rate, given.seconds, given.connections)
                    found["with_swap"] = _asked(
                        server, paths, given.rate, given.seconds, given.connections, lambda: store.promote(second)
                    )
                finally:
                    feeding.terminate()
                    feeding.wait(30)
            found["resident_mb"] = round(psutil.Process(server.pid).memory_info().rss / 1e6)
        return found


def stored(settings: Settings, n_users: int, n_titles: int, draws: int) -> tuple[ModelStore, Model, Dataset, pa.Table]:
    """Train a model, store it with its snapshot, and make it current; return it with its data and catalogue."""
    data, titles = _made(n_users, n_titles, draws)
    users, quick = profiles(data.user_ids, _favourites(n_users)), settings.train.model_copy(update={"iterations": 5})
    model = fit_model(data, quick, local_engine(), profiles=Profiles.of(data, users, titles))
    snapshot = Snapshot(
        by_rows(users, "user_id", data.user_ids), by_rows(titles, "content_id", data.title_ids), data.history()
    )
    store = ModelStore(settings.models)
    store.promote(store.save(model, {"kafka_offsets": {}}, snapshot=snapshot))
    return store, model, data, titles


def _made(n_users: int, n_titles: int, draws: int) -> tuple[Dataset, pa.Table]:
    ratings, rng = generated(n_users, n_titles, draws), np.random.default_rng(2)
    n_genres = rng.integers(1, 4, n_titles)
    start = np.concatenate([[0], np.cumsum(n_genres)])
    drawn = rng.choice(len(GENRES), start[-1], p=_zipf(len(GENRES)))
    has = np.zeros((n_titles, len(GENRES)), np.bool_)
    has[np.repeat(np.arange(n_titles), n_genres), drawn] = True
    suits = has[ratings.title, _favourites(n_users)[ratings.user]]
    stars = np.clip(ratings.stars + np.where(suits, 1.0, -0.5), 0.5, 5.0)
    user_ids, title_ids = ([f"{kind}{n:07d}" for n in range(size)] for kind, size in (("u", n_users), ("t", n_titles)))
    table = pa.table(
        {
            "user_id": pa.array(user_ids).take(pa.array(ratings.user)),
            "content_id": pa.array(title_ids).take(pa.array(ratings.title)),
            "rating": stars.astype(np.float64),
            "timestamp": pa.array(np.full(len(ratings), START)).cast(pa.timestamp("us", tz="UTC")),
            "source": pa.repeat("observed", len(ratings)),
        }
    )
    titles = cards(pa.array(title_ids), start, drawn, rng)
    return dataset(table, user_ids, title_ids), titles


def _favourites(n_users: int) -> NDArray[np.int64]:
    """Return the genre that each user likes, and rates a star and a half better than others."""
    return np.random.default_rng(3).choice(len(GENRES), n_users, p=_zipf(len(GENRES)))


def _zipf(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    weights = 1 / np.arange(1, n + 1)
    found: np.ndarray[Any, np.dtype[np.float64]] = weights / weights.sum()
    return found


def _paths(data: Dataset, n: float) -> list[str]:
    """Return requests of users drawn at random: half of them with a filter, by genre, type or age rating."""
    rng = np.random.default_rng(4)
    found = []
    for user in rng.integers(0, data.n_users, min(int(n), 20_000)).tolist():
        path = f"/v1/users/{data.user_ids[user].as_py()}/recommendations"
        kind = rng.integers(6)
        if kind == 0:
            path += f"?genre={GENRES[rng.choice(len(GENRES), p=_zipf(len(GENRES)))].replace(' ', '%20')}"
        elif kind == 1:
            path += f"?type={'movie' if rng.random() < 0.5 else 'series'}"
        elif kind == 2:
            path += f"?age_rating={AGES[rng.integers(1, 4)]}"
        found.append(path)
    return found


class Server:
    """`nextreel serve` as a process of its own."""

    def __init__(self, bootstrap: str, home: str):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
        environment |= {"NEXTREEL_KAFKA_BOOTSTRAP": bootstrap, "NEXTREEL_HOME": home}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nextreel", "serve", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self.pid = self._process.pid

    def __enter__(self) -> "Server":
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the server is not ready")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as answer:
            return json.loads(answer.read())


def _asked(
    server: Server, paths: list[str], rate: float, seconds: float, connections: int, meanwhile: Any = None
) -> dict[str, Any]:
    """Ask at a rate; do something in the middle."""
    command = [sys.executable, "-m", "benchmarks.load", server.url, str(rate), str(seconds), str(connections)]
    asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if meanwhile is not None:
        assert asking.stdin is not None
        asking.stdin.write("\n".join(paths))
        asking.stdin.close()
        time.sleep(seconds / 3)
        meanwhile()
        assert asking.stdout is not None
        told = asking.stdout.read()
        asking.wait()
    else:
        told, _ = asking.communicate("\n".join(paths))
    found: dict[str, Any] = json.loads(told)
    return found


def _exactness(server: Server, model: Model, data: Dataset, titles: pa.Table) -> float:
    """Return the share of answers, with filters and without, that a brute force in float64 has as well."""
    rng = np.random.default_rng(5)
    exact = model.ranking_factors.titles.astype(np.float64)
    genre = np.array([GENRES[0] in genres for genres in titles["genres"].to_pylist()])
    same = 0
    for n, user in enumerate(rng.integers(0, data.n_users, _CHECKED).tolist()):
        path = f"/v1/users/{data.user_ids[user].as_py()}/recommendations" + ("?genre=Genre%2000" if n % 2 else "")
        scores = exact @ model.ranking_factors.users[user]
        seen = data.title[data.user == user]
        scores[seen] = -np.inf
        if n % 2:
            scores[~genre] = -np.inf
        tenth = np.partition(scores, -10)[-10]
        rows = [int(item["content_id"][1:]) for item in server.get(path)["items"]]
        same += len(set(rows)) == 10 and bool((scores[rows] >= tenth - 1e-6 * abs(tenth)).all())
    return same / _CHECKED


def show(result: dict[str, Any]) -> None:
    """Print one line a run."""
    for n, each in result["ours"]["by_titles"].items():
        for name in ("quiet", "with_events", "with_swap"):
            if name in each:
                r = each[name]
                times = "   ".join(f"{p} {r[f'{p}_ms']:7.2f}" for p in ("p50", "p95", "p99", "most"))
                rate = f"{r['requests_per_second']:8,.0f} requests/s"
                print(f"  {int(n):9,} titles, {name:11} {rate}   {times} ms   errors {r['errors']}")
        print(f"  {int(n):9,} titles: answers as brute force {each['exact']:.1%}, resident {each['resident_mb']:,} MB")


def _feed() -> None:
    """Produce interactions at a rate until stopped: ``python -m benchmarks.serve BOOTSTRAP RATE TITLES USERS``."""
    import orjson
    from confluent_kafka import Producer

    bootstrap, rate, n_titles, n_users = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    topic = load({}, {}).kafka.interactions
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": "50"})  # as nextreel's own producers
    rng = np.random.default_rng(6)
    began, sent = time.monotonic(), 0
    while True:
        while sent < rate * (time.monotonic() - began):
            event = {
                "id": f"e{sent}",
                "type": "interaction",
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "id_usuario": f"u{rng.integers(n_users):07d}",
                "id_contenido": f"t{min(n_titles - 1, int(n_titles ** rng.random())):07d}",
                "evento": "play",
            }
            producer.produce(topic, orjson.dumps(event), key=event["id"])
            sent += 1
        producer.poll(0.005)


if __name__ == "__main__":
    _feed()
