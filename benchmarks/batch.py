"""Everyone's top 10, without what they have rated: beside MLlib's `recommendForAllUsers` and implicit's `recommend`.

All rank by the same factors, those of implicit ALS on the ratings of `benchmarks.recipe`, but MLlib, which takes none
from outside and leaves no titles out: it ranks by factors of its own, of one sweep. Answers are compared with brute
force.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from pyspark.ml.recommendation import ALS
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.recipe import Ratings, generated
from nextreel.lake.session import spark_session, stop_spark
from nextreel.model.model import Factors
from nextreel.model.rank import Catalogue, Pairs
from nextreel.settings import load
from nextreel.train.engine import Objective
from nextreel.train.local import local_engine

_K = 10
_LIKED = 4.0
_CHECKED = 2_000


def run(arguments: list[str]) -> dict[str, Any]:
    """Train once, then time everyone's lists."""
    parser = argparse.ArgumentParser(prog="./run bench batch")
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--titles", type=int, default=8_000)
    parser.add_argument("--draws", type=int, default=2_500_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    ratings = generated(given.users, given.titles, given.draws)
    liked = ratings.where(ratings.stars >= _LIKED)
    objective = Objective("implicit", given.factors, 5, 0.01, alpha=10.0, scaling="all")
    trained = local_engine(given.threads)(liked.cells(np.ones(len(liked), np.float32)), objective)
    seen = Pairs.of(ratings.user, ratings.title, given.users)

    def ours() -> NDArray[np.int64]:
        return Catalogue.of(trained.titles).top_k(trained.users, _K, seen, threads=given.threads)[0]

    own, lists = _timed(ours, given.rounds)
    library, theirs = _by_implicit(trained, ratings, given)
    seconds = {"implicit": library, "mllib": _by_mllib(liked, given)}
    return {
        "ours": {"seconds": round(own, 3), "same_as_brute_force": _agreement(lists, trained, seen)},
        "peers": {who: {"seconds": round(s, 3)} for who, s in seconds.items()}
        | {"implicit_same_as_brute_force": _agreement(theirs, trained, seen)},
        "ratios": {who: round(s / own, 2) for who, s in seconds.items()},
        "users": given.users,
        "titles": given.titles,
        "factors": given.factors,
    }


def _timed(work: Callable[[], NDArray[np.int64]], rounds: int) -> tuple[float, NDArray[np.int64]]:
    found, seconds = work(), []
    for _ in range(rounds):
        began = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), found


def _by_implicit(trained: Factors, ratings: Ratings, given: argparse.Namespace) -> tuple[float, NDArray[np.int64]]:
    ones = np.ones(len(ratings), np.float32)
    rated = csr_matrix((ones, (ratings.user, ratings.title)), shape=(ratings.n_users, ratings.n_titles))
    everyone = np.arange(ratings.n_users)
    with threadpool_limits(1, "blas"):  # as implicit asks for
        model = AlternatingLeastSquares(given.factors, num_threads=given.threads)
        model.user_factors, model.item_factors = trained.users, trained.titles
        return _timed(lambda: model.recommend(everyone, rated, _K)[0].astype(np.int64), given.rounds)


def _by_mllib(liked: Ratings, given: argparse.Namespace) -> float:
    """Return the seconds of MLlib's lists, written to Spark's sink that throws away."""
    with tempfile.TemporaryDirectory() as home:
        spark = spark_session(load({"home": home, "spark.driver_memory": "6g"}, {}))
        try:
            columns = ("user", "title")
            rows = spark.createDataFrame(np.stack([liked.user, liked.title], 1), schema=list(columns)).selectExpr(
                *(f"cast({name} as int) {name}" for name in columns), "1.0f as value"
            )
            als = ALS(
                rank=given.factors, maxIter=1, implicitPrefs=True, userCol="user", itemCol="title", ratingCol="value"
            )
            model = als.fit(rows)
            seconds = []
            for _ in range(2):
                began = time.perf_counter()
                model.recommendForAllUsers(_K).write.format("noop").mode("overwrite").save()
                seconds.append(time.perf_counter() - began)
            return min(seconds)
        finally:
            stop_spark(spark)


def _agreement(lists: NDArray[np.int64], trained: Factors, seen: Pairs) -> float:
    """Return the share of places that hold what a float64 brute force has there, or a score equal to it in float32."""
    users = np.random.default_rng(0).permutation(len(trained.users))[:_CHECKED].astype(np.int64)
    scores = trained.users[users].astype(np.float64) @ trained.titles.T.astype(np.float64)
    out = seen.rows(users)
    scores[np.repeat(np.arange(len(users)), np.diff(out.start)), out.titles] = -np.inf
    best = -np.sort(-np.partition(scores, -_K, axis=1)[:, -_K:], axis=1)
    found = np.take_along_axis(scores, lists[users], axis=1)
    return float(np.mean(np.isclose(found, best, rtol=1e-5, atol=1e-7)))


def show(result: dict[str, Any]) -> None:
    """Print a table."""
    own = result["ours"]
    print(f"top {_K} of {result['titles']:,} titles for {result['users']:,} users, {result['factors']} factors")
    print(f"{'nextreel':10} {own['seconds']:8.3f} s          as brute force: {own['same_as_brute_force']:.4%}")
    for who, ratio in result["ratios"].items():
        print(f"{who:10} {result['peers'][who]['seconds']:8.3f} s  {ratio:6.1f} times")
