"""ALS on one machine beside other ALS: seconds a sweep, and seconds to the same quality on held-out ratings.

The data are those of `benchmarks.recipe` (2.5 million draws over 30,000 users and 8,000 titles leave 1.96 million
ratings) and, where its folder is given, a MovieLens data set. Tasks and their judging: `benchmarks.als_tasks`; engines
and what their settings mean: `benchmarks.als_engines`.

1. Each engine is trained with every setting of its grid (`benchmarks.als_grids`: as many for all) and judged after
   each sweep; cmfrec and MLlib, which tell nothing of their sweeps, after some numbers of them, each a training of its
   own.
2. The quality to reach is, for each peer, the best of the lesser of the two, nextreel and the peer, less some slack.
   Each takes the setting that gets there in the fewest sweeps.
3. With those both are timed, in turns, ``--rounds`` times; medians count. MLlib is timed once.

Settings are chosen on the very ratings that judge, for all alike: this compares speeds, not models. Time begins with
the library's call on ratings in its own format, and stands still while quality is measured; each engine has trained on
the same data before, so that nothing is compiled within it. BLAS has one thread, as `implicit` asks for: all engines
are parallel above it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.als_engines import Cmfrec, Engine, Implicit, Irspack, MLlib, Nextreel
from benchmarks.als_grids import GRIDS, Place, Search, search
from benchmarks.als_parity import difference
from benchmarks.als_runs import Run, Until, train
from benchmarks.als_tasks import Task, explicit_task, implicit_task
from benchmarks.recipe import Ratings, generated, movielens

_ENGINES: dict[str, Callable[[int], Engine]] = {
    "nextreel": Nextreel,
    "implicit": Implicit,
    "irspack": Irspack,
    "cmfrec": Cmfrec,
    "mllib": MLlib,
}
#: What engines that tell nothing of their sweeps are tuned at, and timed at.
_TUNED_AT = {"cmfrec": (1, 3, 6, 12), "mllib": (4,)}
_TIMED_AT = {"cmfrec": (1, 2, 3, 4, 5, 6, 8, 10, 12), "mllib": (1, 2, 3, 4)}
_SWEEPS = 12
#: The share of the quality that may be missing. nDCG@10 is a mean over few titles that are there or not.
_SLACK = {"explicit": 0.005, "implicit": 0.01}
_PARITY = {"regularization": 100.0, "alpha": 10.0}
_PARITY_SEEDS = 3


@dataclass(frozen=True)
class Pair:
    """A peer and nextreel, on their way to the same quality."""

    target: float
    peer: list[Run]
    ours: list[Run]


def run(arguments: list[str]) -> dict[str, Any]:
    """Train everything with everything."""
    parser = argparse.ArgumentParser(prog="./run bench als")
    parser.add_argument("--movielens", type=Path, help="folder of a MovieLens data set to train on as well")
    parser.add_argument("--without-generated", action="store_true", help="leave out the generated ratings")
    parser.add_argument("--only", nargs="+", choices=[*_ENGINES][1:], help="peers to compare with, instead of all")
    parser.add_argument("--feedback", nargs="+", choices=("explicit", "implicit"), default=["explicit", "implicit"])
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cap", type=float, default=300.0, help="seconds: after a longer MLlib training comes no other"
    )
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--titles", type=int, default=8_000)
    parser.add_argument("--draws", type=int, default=2_500_000)
    given = parser.parse_args(arguments)
    data: dict[str, Ratings] = {}
    if not given.without_generated:
        data["generated"] = generated(given.users, given.titles, given.draws)
    if given.movielens:
        data["movielens"] = movielens(given.movielens)
    names = ["nextreel", *(given.only or [*_ENGINES][1:])]
    if "cmfrec" in names and not Cmfrec.is_installed():
        _say("cmfrec is not installed (it compiles for minutes: see docs/performance.md), and is left out")
        names.remove("cmfrec")
    tasks = {"explicit": explicit_task, "implicit": implicit_task}
    known: dict[tuple[str, str], Place] = {}
    engines: list[Engine] = []
    with threadpool_limits(1, "blas"):
        try:
            for name in names:
                engines.append(_ENGINES[name](given.threads))  # noqa: PERF401 (those begun are to be closed)
            cases = [
                _case(f"{name}, {kind}, {factors} factors", name, task(ratings), factors, engines, known, given)
                for name, ratings in data.items()
                for factors in given.factors
                for kind, task in tasks.items()
                if kind in given.feedback
            ]
            parity = [
                _parity(name, implicit_task(ratings), given) for name, ratings in data.items() if "implicit" in names
            ]
        finally:
            for engine in engines:
                engine.close()
    return {
        "ours": {
            "sweep_seconds": {case["title"]: case["sweep_seconds"] for case in cases},
            "parity_with_implicit": parity,
        },
        "peers": cases,
        "ratios": {who: _least(cases, who, "times_the_seconds") for who in [*_ENGINES][1:]},
        "ratios_a_sweep": {who: _least(cases, who, "times_a_sweep") for who in [*_ENGINES][1:]},
        "engines": {engine.name: engine.about for engine in engines},
        "threads": given.threads,
        "rounds": given.rounds,
    }


def _case(
    title: str,
    data: str,
    task: Task,
    factors: int,
    engines: list[Engine],
    known: dict[tuple[str, str], Place],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Tune all engines on a task, then time each peer beside ours.

    MLlib, which takes longest, is tuned near the settings that were its best on the same data with other factors.
    """
    found = {}
    for engine in engines:
        if (engine.name, task.kind) in GRIDS:
            near = known.get((data, task.kind)) if engine.name == "mllib" else None
            found[engine.name] = _tuned(title, engine, task, factors, near)
    if "mllib" in found:
        known[data, task.kind] = found["mllib"].at
    ours = next(engine for engine in engines if engine.name == "nextreel")
    pairs = {}
    for engine in engines:
        if engine is not ours and engine.name in found:
            _say(f"{title}: timing {engine.name}")
            pairs[engine.name] = _timed(engine, ours, task, factors, found, given)
    sweeps = [each.sweep_seconds for pair in pairs.values() for each in pair.ours]
    case = {
        "title": title,
        "feedback": task.kind,
        "ratings": len(task.train),
        "factors": factors,
        "metric": task.metric,
        "sweep_seconds": round(float(np.median(sweeps)), 4) if sweeps else None,
        "tuned": {who: _told(each) for who, each in found.items()},
        "pairs": {who: _compared(pair) for who, pair in pairs.items()},
    }
    _say(json.dumps(case))  # who stops it now has this much
    return case


def _tuned(title: str, engine: Engine, task: Task, factors: int, near: Place | None) -> Search:
    grids = GRIDS[engine.name, task.kind]
    ladder = _TUNED_AT.get(engine.name, (_SWEEPS,))
    _say(f"{title}: tuning {engine.name}")
    engine.load(task)
    engine.fit(grids[0].settings(next(iter(grids[0]))), factors, 1, lambda _: None)  # whatever is compiled or loaded
    return search(grids, lambda settings: train(engine, task, settings, factors, ladder), near)


def _timed(
    engine: Engine, ours: Engine, task: Task, factors: int, found: dict[str, Search], given: argparse.Namespace
) -> Pair:
    lesser = min(found[who].best.best for who in (engine.name, ours.name))
    target = lesser - abs(lesser) * _SLACK[task.kind]
    pair = Pair(target, [], [])
    for i in range(given.rounds):
        for who, runs in ((engine, pair.peer), (ours, pair.ours)):
            if who.name == "mllib" and i > 0:
                continue
            ladder = _TIMED_AT.get(who.name, (_SWEEPS,))
            settings = found[who.name].soonest(target).settings
            who.load(task)
            runs.append(train(who, task, settings, factors, ladder, Until(target, given.cap)))
    return pair


def _told(found: Search) -> dict[str, Any]:
    return {
        "settings_tried": len(found.runs),
        "best": round(abs(found.best.best), 4),
        "best_settings": found.best.settings,
        "best_after_sweeps": found.best.sweeps_to(found.best.best),
        "at_edge": found.at_edge,
    }


def _compared(pair: Pair) -> dict[str, Any]:
    ours, peer = _medians(pair.ours, pair.target), _medians(pair.peer, pair.target)
    return {
        "target": round(abs(pair.target), 4),
        "ours": ours,
        "peer": peer,
        "times_the_seconds": round(peer["seconds"] / ours["seconds"], 2),
        "times_a_sweep": round(peer["sweep_seconds"] / ours["sweep_seconds"], 2),
    }


def _medians(runs: list[Run], target: float) -> dict[str, Any]:
    """Return the medians of runs with the same settings; where the quality was not reached, the seconds spent."""
    reached = [each.seconds_to(target) for each in runs]
    return {
        "settings": runs[0].settings,
        "sweeps": runs[0].sweeps_to(target),
        "seconds": round(float(np.median([s or r.seconds[-1] for s, r in zip(reached, runs, strict=True)])), 4),
        "more_than": None in reached,
        "sweep_seconds": round(float(np.median([each.sweep_seconds for each in runs])), 4),
    }


def _parity(name: str, task: Task, given: argparse.Namespace) -> dict[str, Any]:
    _say(f"{name}: the objective beside implicit's")
    found = [difference(task, given.factors[0], given.threads, seed, **_PARITY) for seed in range(_PARITY_SEEDS)]
    return {"data": name, "factors": given.factors[0]} | _PARITY | {"differences": [round(d, 5) for d in found]}


def _least(cases: list[dict[str, Any]], who: str, key: str) -> float | None:
    """Return the worst of all cases for us."""
    return min((case["pairs"][who][key] for case in cases if who in case["pairs"]), default=None)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """Print two tables for each case: how engines were tuned, and how long they took."""
    print(f"{result['threads']} threads; " + "; ".join(result["engines"].values()))
    for case in result["peers"]:
        print(f"\n{case['title']}: {case['ratings']:,} ratings")
        print(f"{'tuned':9} {case['metric']:>8} {'tried':>6}  best settings")
        for who, each in case["tuned"].items():
            edge = f"  AT THE EDGE: {', '.join(each['at_edge'])}" if each["at_edge"] else ""
            print(f"{who:9} {each['best']:8.4f} {each['settings_tried']:6}  {each['best_settings']}{edge}")
        print(f"{'timed':9} {'a sweep':>9} {'ours':>9} {'ratio':>8}  to {case['metric']:>7} {'ours':>9} {'ratio':>8}")
        for who, each in case["pairs"].items():
            _show_pair(who, each)
    for each in result["ours"]["parity_with_implicit"]:
        over = ", ".join(f"{d:+.3%}" for d in each["differences"])
        print(f"\n{each['data']}: our implicit objective over that of implicit, by seed: {over}")
    print(f"\nworst ratios: seconds to the same quality {result['ratios']}, a sweep {result['ratios_a_sweep']}")


def _show_pair(who: str, pair: dict[str, Any]) -> None:
    peer, ours = pair["peer"], pair["ours"]
    more = ">" if peer["more_than"] else " "
    sweep = f"{peer['sweep_seconds']:7.3f} s {ours['sweep_seconds']:7.3f} s {pair['times_a_sweep']:8.2f}"
    reached = f"{more}{peer['seconds']:8.3f} s {ours['seconds']:7.3f} s {more}{pair['times_the_seconds']:7.2f}"
    print(f"{who:9} {sweep} {reached}   {pair['target']:.4f} in {peer['sweeps']} and {ours['sweeps']} sweeps")
