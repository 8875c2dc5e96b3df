"""One user's top 10 of a million titles, one thread: exact answers, beside numpy's and faiss's exact scans.

The factors are those of ALS trained on ratings whose titles have a long tail (see `benchmarks.recipe`), liked ones as
implicit feedback. ``recall`` is the share of a float64 brute force's titles that were found; titles whose scores are
within float32's rounding of the tenth are as good.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.recipe import generated
from nextreel.model.arrays import Floats
from nextreel.model.rank import Catalogue
from nextreel.train.engine import Objective
from nextreel.train.local import local_engine

_K = 10
_QUERIES = 1_000
_SLOW_QUERIES = 100
_LIKED = 4.0

Search = Callable[[Floats], NDArray[np.int64]]


def run(arguments: list[str]) -> dict[str, Any]:
    """Train, then ask everyone for the same users' titles."""
    parser = argparse.ArgumentParser(prog="./run bench rank")
    parser.add_argument("--titles", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=20_000_000)
    parser.add_argument("--factors", type=int, default=64)
    given = parser.parse_args(arguments)
    ratings = generated(given.users, given.titles, given.draws)
    liked = ratings.where(ratings.stars >= _LIKED)
    objective = Objective("implicit", given.factors, 5, 0.01, alpha=10.0, scaling="all")
    trained = local_engine()(liked.cells(np.ones(len(liked), np.float32)), objective)
    asked = np.random.default_rng(3).permutation(np.unique(liked.user))[:_QUERIES]
    users, titles = trained.users[asked], trained.titles
    with threadpool_limits(1):
        faiss.omp_set_num_threads(1)
        catalogue = Catalogue.of(titles)
        flat = faiss.IndexFlatIP(given.factors)
        flat.add(titles)
        searches: dict[str, tuple[Search, int]] = {
            "nextreel": (lambda user: catalogue.top_k(user, _K)[0][0], _QUERIES),
            "numpy": (lambda user: _by_numpy(titles, user[0]), _SLOW_QUERIES),
            "faiss flat": (lambda user: flat.search(user, _K)[1][0], _SLOW_QUERIES),
        }
        found = {who: _measured(search, users[:n]) for who, (search, n) in searches.items()}
    norms = np.linalg.norm(titles, axis=1)
    for each in found.values():
        each["recall"] = _recall(each.pop("rows"), users, titles)
    own = found.pop("nextreel")
    return {
        "ours": own,
        "peers": found,
        "ratios": {who: round(each["p50_ms"] / own["p50_ms"], 1) for who, each in found.items()},
        "titles": given.titles,
        "factors": given.factors,
        "norms": {f"p{q}": round(float(np.percentile(norms, q)), 4) for q in (1, 50, 99, 100)},
    }


def _by_numpy(titles: Floats, user: Floats) -> NDArray[np.int64]:
    scores = titles @ user
    best = np.argpartition(-scores, _K)[:_K]
    return best[np.argsort(-scores[best])]


def _measured(search: Search, users: Floats) -> dict[str, Any]:
    for user in users[:5]:
        search(user[None])
    seconds, rows = [], []
    for user in users:
        began = time.perf_counter()
        rows.append(search(user[None]))
        seconds.append(time.perf_counter() - began)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4), "queries": len(users), "rows": rows}


def _recall(rows: list[NDArray[np.int64]], users: Floats, titles: Floats) -> float:
    """Return the share of found titles that a float64 brute force has, of the first hundred users."""
    hits = 0
    exact_titles = titles.astype(np.float64)
    for found, user in zip(rows[:_SLOW_QUERIES], users, strict=False):
        scores = exact_titles @ user
        tenth = np.partition(scores, -_K)[-_K]
        hits += int((scores[found] >= tenth - 1e-6 * abs(tenth)).sum())
    return hits / (_K * min(len(rows), _SLOW_QUERIES))


def show(result: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{result['titles']:,} titles, {result['factors']} factors, norms {result['norms']}; top {_K}, one thread")
    for who, each in {"nextreel": result["ours"], **result["peers"]}.items():
        print(f"{who:11} p50 {each['p50_ms']:8.3f} ms   p99 {each['p99_ms']:8.3f} ms   recall {each['recall']:.4f}")
    print("ratios of p50: " + ", ".join(f"{who} {r:.0f}" for who, r in result["ratios"].items()))
