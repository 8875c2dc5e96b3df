"""ALS on one machine: seconds a sweep, and seconds to the same quality on held-out ratings, beside other ALS.

Explicit feedback is judged by RMSE, implicit feedback (four stars or more are liked, all other titles are ranked) by
nDCG@10. Each engine runs with the best of a small grid of settings, chosen on these held-out ratings for all alike. The
quality to reach is what the least of them comes to, with half a percent to spare. Time stops while quality is measured.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from irspack import IALSRecommender
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.recipe import Ratings, generated, movielens
from nextreel.lake.session import spark_session, stop_spark
from nextreel.model.model import Factors
from nextreel.model.rank import Pairs, top_k
from nextreel.settings import load
from nextreel.train.engine import Objective
from nextreel.train.local import Sweep, local_engine
from nextreel.train.mllib import mllib_engine

_SWEEPS = 12
#: MLlib tells nothing of its sweeps: it is trained anew with each of these numbers.
_MLLIB_SWEEPS = (1, 2, 3, 5, 8)
_SLACK = 0.005
_LIKED = 4.0
_JUDGED_USERS = 4_000
_K = 10


@dataclass
class Run:
    """A training with some settings: seconds and quality (higher is better) after each sweep, without the judging."""

    settings: dict[str, Any]
    judge: Callable[[Factors], float]
    seconds: list[float] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)
    #: How many sweeps each of them stands for, where that is not one more each time.
    sweeps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._since = time.perf_counter()

    def sweep(self, factors: Factors) -> None:
        """Take down that a sweep has ended."""
        before = self.seconds[-1] if self.seconds else 0.0
        self.seconds.append(before + time.perf_counter() - self._since)
        self.quality.append(self.judge(factors))
        self._since = time.perf_counter()

    @property
    def sweep_seconds(self) -> float:
        """The median of the sweeps after the first."""
        return float(np.median(np.diff(self.seconds) / np.diff(self.sweeps or range(len(self.seconds)))))

    def seconds_to(self, quality: float) -> float | None:
        """Return the seconds until the quality was reached."""
        return next((s for s, q in zip(self.seconds, self.quality, strict=True) if q >= quality), None)


@dataclass(frozen=True)
class Task:
    """What is to be learned: ratings, off their mean or liked ones, and how factors are judged."""

    kind: Literal["explicit", "implicit"]
    train: Ratings
    values: NDArray[np.float32]
    judge: Callable[[Factors], float]


Engine = Callable[[Task, int, int, Run], None]
"""Trains on a task with so many factors and threads, and tells the run of each sweep."""


def ours(task: Task, factors: int, threads: int, run: Run) -> None:
    """Train with nextreel's local engine."""

    def watch(sweep: Sweep) -> bool:
        run.sweep(sweep.factors)
        return False

    objective = Objective(task.kind, factors, _SWEEPS, **run.settings)
    local_engine(threads, watch)(task.train.cells(task.values), objective)


def implicit_library(task: Task, factors: int, threads: int, run: Run) -> None:
    """Train with `implicit`, by conjugate gradients."""
    model = AlternatingLeastSquares(
        factors, iterations=_SWEEPS, num_threads=threads, random_state=0, dtype=np.float32, **run.settings
    )
    with threadpool_limits(1, "blas"):  # as its documentation asks for
        model.fit(
            _sparse(task),
            show_progress=False,
            callback=lambda *_: run.sweep(Factors(model.user_factors, model.item_factors)),
        )


def irspack(task: Task, factors: int, threads: int, run: Run) -> None:
    """Train with irspack's iALS, by conjugate gradients."""
    model = IALSRecommender(_sparse(task), factors, n_threads=threads, train_epochs=_SWEEPS, **run.settings)
    model.start_learning()
    for _ in range(_SWEEPS):
        model.run_epoch()
        run.sweep(Factors(model.get_user_embedding(), model.get_item_embedding()))


def mllib(spark: SparkSession) -> Engine:
    """Return MLlib's ALS."""

    def train(task: Task, factors: int, threads: int, run: Run) -> None:
        cells, seconds = task.train.cells(task.values), []
        for sweeps in _MLLIB_SWEEPS:
            objective = Objective(task.kind, factors, sweeps, **run.settings)
            began = time.perf_counter()
            found = mllib_engine(spark)(cells, objective)
            seconds.append(time.perf_counter() - began)
            run.sweep(found)
        run.seconds = list(itertools.accumulate(seconds, max))
        run.sweeps = _MLLIB_SWEEPS

    return train


def _sparse(task: Task) -> Any:
    data = task.train
    return csr_matrix((task.values, (data.user, data.title)), shape=(data.n_users, data.n_titles))


def explicit_task(ratings: Ratings) -> Task:
    """Return the prediction of held-out stars, judged by their RMSE."""
    train, test = ratings.split(0.1)
    mean = train.stars.mean()

    def judge(f: Factors) -> float:
        off = mean + np.einsum("nk,nk->n", f.users[test.user], f.titles[test.title])
        return -float(np.sqrt(np.mean((np.clip(off, 0.5, 5.0) - test.stars) ** 2)))

    return Task("explicit", train, train.stars - mean, judge)


def implicit_task(ratings: Ratings) -> Task:
    """Return the ranking of held-out liked titles among all that a user has not liked yet, judged by nDCG@10."""
    train, test = ratings.where(ratings.stars >= _LIKED).split(0.1)
    users = np.random.default_rng(2).permutation(np.unique(test.user))[:_JUDGED_USERS].astype(np.int64)
    seen = Pairs.of(train.user, train.title, train.n_users).rows(users)
    wanted = test.user.astype(np.int64) * test.n_titles + test.title
    discount = 1 / np.log2(np.arange(2, _K + 2))
    n_wanted = np.bincount(test.user, minlength=test.n_users)[users]
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_wanted, _K)]

    def judge(f: Factors) -> float:
        lists = top_k(np.ascontiguousarray(f.users[users]), f.titles, _K, seen)[0]
        hits = np.isin(users[:, None] * test.n_titles + lists, wanted)
        return float(np.mean((hits * discount).sum(1) / ideal))

    return Task("implicit", train, np.ones(len(train), np.float32), judge)


def _grid(**choices: Iterable[Any]) -> list[dict[str, Any]]:
    return [dict(zip(choices, each, strict=True)) for each in itertools.product(*choices.values())]


#: Settings to choose from, by engine and feedback. What λ is weighted by differs, so that its numbers do too.
_GRIDS = {
    ("nextreel", "explicit"): _grid(regularization=(0.03, 0.05, 0.08)),
    ("mllib", "explicit"): _grid(regularization=(0.03, 0.05, 0.08)),
    ("nextreel", "implicit"): _grid(regularization=(0.003, 0.01, 0.03), alpha=(1.0, 10.0), scaling=("all",)),
    ("implicit", "implicit"): _grid(regularization=(1.0, 10.0, 100.0), alpha=(1.0, 10.0)),
    ("irspack", "implicit"): _grid(reg=(0.003, 0.01, 0.03), alpha0=(0.1, 1.0)),
}


def run(arguments: list[str]) -> dict[str, Any]:
    """Train everything with everything."""
    parser = argparse.ArgumentParser(prog="./run bench als")
    parser.add_argument("--factors", type=int, nargs="*", default=[64, 128])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--movielens", type=Path, help="folder of a MovieLens data set to train on as well")
    parser.add_argument("--without-mllib", action="store_true", help="MLlib takes most of the time")
    given = parser.parse_args(arguments)
    data = {"generated": generated()} | ({"movielens": movielens(given.movielens)} if given.movielens else {})
    peers = {"implicit": implicit_library, "irspack": irspack}
    with tempfile.TemporaryDirectory() as home:
        spark = None if given.without_mllib else spark_session(load({"home": home, "spark.driver_memory": "6g"}, {}))
        engines = {"nextreel": ours} | peers | ({} if spark is None else {"mllib": mllib(spark)})
        try:
            found = [
                _compared(name, task, factors, given.threads, engines)
                for name, ratings in data.items()
                for factors in given.factors
                for task in (explicit_task(ratings), implicit_task(ratings))
            ]
        finally:
            if spark is not None:
                stop_spark(spark)
    first = {case["feedback"]: case for case in found if case["data"] == "generated"}
    ratios = {
        who: each["times_the_seconds_to_quality"]
        for case in reversed(first.values())
        for who, each in case["engines"].items()
        if who != "nextreel"
    }
    return {"ours": found[0]["engines"]["nextreel"], "peers": found, "ratios": ratios | {"cmfrec": None}}


def _compared(name: str, task: Task, factors: int, threads: int, engines: dict[str, Engine]) -> dict[str, Any]:
    runs = {}
    for who, engine in engines.items():
        tried = []
        for settings in _GRIDS.get((who, task.kind), []):
            tried.append(Run(settings, task.judge))
            engine(task, factors, threads, tried[-1])
        if tried:
            runs[who] = max(tried, key=lambda each: max(each.quality))
    least = min(max(each.quality) for each in runs.values())
    target = least - abs(least) * _SLACK
    own = runs["nextreel"].seconds_to(target)
    return {
        "data": name,
        "ratings": len(task.train),
        "feedback": task.kind,
        "factors": factors,
        "metric": "RMSE" if task.kind == "explicit" else "nDCG@10",
        "target": round(abs(target), 4),
        "engines": {
            who: {
                "settings": each.settings,
                "sweep_seconds": round(each.sweep_seconds, 3),
                "best": round(abs(max(each.quality)), 4),
                "seconds_to_quality": round(each.seconds_to(target) or np.nan, 3),
                "times_a_sweep": round(each.sweep_seconds / runs["nextreel"].sweep_seconds, 2),
                "times_the_seconds_to_quality": round((each.seconds_to(target) or np.nan) / (own or np.nan), 2),
            }
            for who, each in runs.items()
        },
    }


def show(result: dict[str, Any]) -> None:
    """Print a table for each data set, feedback and number of factors."""
    for case in result["peers"]:
        print(
            f"\n{case['data']}: {case['ratings']:,} ratings, {case['feedback']}, {case['factors']} factors; "
            f"to {case['metric']} {case['target']}"
        )
        print(f"{'':10} {'a sweep':>9} {'ratio':>6} {'to quality':>11} {'ratio':>6} {'best':>8}  settings")
        for who, each in case["engines"].items():
            sweep = f"{each['sweep_seconds']:7.3f} s {each['times_a_sweep']:6.2f}"
            reached = f"{each['seconds_to_quality']:9.2f} s {each['times_the_seconds_to_quality']:6.2f}"
            print(f"{who:10} {sweep} {reached} {each['best']:8.4f}  {each['settings']}")
