"""What a sweep of our ALS costs, in seconds and in memory, by ratings, by rows and by factors.

Each point is a process of its own, which reads ratings from files, trains, and tells the most memory that it ever held.
The files are made by yet another one: what a process held counts for those that it starts. Ratings are those of
`benchmarks.recipe`, shuffled, so that the first of them are a random part of all.

- ratings: over 138,000 users and 27,000 titles, 64 factors;
- rows: five users to a title, 5 million ratings, 64 factors;
- factors: the data of `als`, 1.96 million ratings over 30,000 users and 8,000 titles.

Seconds a sweep are the median of the sweeps after the first; those of the start are the first's, sorting included, less
that. There is no peer: ``peers`` and ``ratios`` are empty.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chart import Line, Panel, draw
from benchmarks.recipe import generated
from nextreel.train.engine import Cells, Objective
from nextreel.train.local import Sweep, local_engine

_SETTINGS: dict[str, dict[str, Any]] = {
    "explicit": {"regularization": 0.1},
    "implicit": {"regularization": 0.01, "alpha": 10.0, "scaling": "all"},
}
_SWEEPS = 4
_FACTORS = 64
_RATINGS = tuple(round(n * 1e6) for n in (0.5, 1, 2, 5, 10, 20, 50, 100))
_ROWS = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)
_RATINGS_OF_ROWS = 5_000_000
_MANY_FACTORS = (16, 32, 64, 128, 256)
#: Draws for each rating that is wanted: some pairs come twice.
_DRAWS = 1.6
_COLUMNS = ("user", "title", "stars")


@dataclass(frozen=True)
class World:
    """What ratings are drawn from."""

    users: int
    titles: int
    draws: int


@dataclass(frozen=True)
class Point:
    """A training on ``ratings`` at most of a world's, as a point of the curve ``by``."""

    by: str
    ratings: int
    factors: int


def _curves(most: int) -> dict[World, list[Point]]:
    """Return the points of all curves by world, none with more than ``most`` ratings."""
    counts = [n for n in _RATINGS if n <= most]
    curves = {World(138_000, 27_000, round(_DRAWS * counts[-1])): [Point("ratings", n, _FACTORS) for n in counts]}
    of_rows = min(_RATINGS_OF_ROWS, most)
    for rows in _ROWS:
        curves[World(rows * 5 // 6, rows // 6, round(_DRAWS * of_rows))] = [Point("rows", of_rows, _FACTORS)]
    curves[World(30_000, 8_000, 2_500_000)] = [Point("factors", most, k) for k in _MANY_FACTORS]
    return curves


def run(arguments: list[str]) -> dict[str, Any]:
    """Measure all points, world by world."""
    parser = argparse.ArgumentParser(prog="./run bench als-cost")
    parser.add_argument("--most", type=int, default=_RATINGS[-1], help="ratings, at most; half a million at least")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--svg", type=Path, help="file to draw the curves into")
    given = parser.parse_args(arguments)
    if given.most < _RATINGS[0]:
        parser.error(f"--most {given.most}: the least is {_RATINGS[0]}")
    found = []
    for world, points in _curves(given.most).items():
        with tempfile.TemporaryDirectory() as folder:
            _in_a_process("generate", folder, world.users, world.titles, world.draws)
            for point in points:
                for kind in _SETTINGS:
                    told = _in_a_process("train", folder, kind, point.ratings, point.factors, given.threads)
                    size = {"rows": world.users + world.titles, "factors": point.factors}
                    found.append({"by": point.by, "feedback": kind} | size | told)
                    print(found[-1], file=sys.stderr, flush=True)
    if given.svg:
        given.svg.write_text(picture(found), "utf-8")
    return {"ours": {"points": found}, "peers": {}, "ratios": {}, "threads": given.threads}


def _in_a_process(*work: str | int) -> dict[str, Any]:
    """Run one of the two functions below in a process of its own; return what it tells."""
    command = [sys.executable, "-m", "benchmarks.als_cost", *map(str, work)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def generate(folder: Path, users: int, titles: int, draws: int) -> dict[str, Any]:
    """Write a world's ratings, shuffled, a file for each column."""
    ratings = generated(users, titles, draws)
    order = np.random.default_rng(1).permutation(len(ratings))
    for name in _COLUMNS:
        np.save(folder / f"{name}.npy", getattr(ratings, name)[order])
    np.save(folder / "shape.npy", np.array([users, titles]))
    return {"ratings": len(ratings)}


def train(folder: Path, kind: str, most: int, factors: int, threads: int) -> dict[str, Any]:
    """Train on the first ratings of a folder; return seconds, and MB held before and at most."""
    user, title, stars = (np.array(np.load(folder / f"{name}.npy", mmap_mode="r")[:most]) for name in _COLUMNS)
    users, titles = np.load(folder / "shape.npy").tolist()
    explicit = kind == "explicit"
    values = stars - stars.mean() if explicit else np.ones_like(stars)
    cells = Cells(users, titles, user, title, values)
    ends = []

    def watch(_: Sweep) -> bool:
        ends.append(time.perf_counter())
        return False

    objective = Objective("explicit" if explicit else "implicit", factors, _SWEEPS, **_SETTINGS[kind])
    nothing = np.zeros(1, np.int32)
    local_engine(threads)(Cells(1, 1, nothing, nothing, np.ones(1, np.float32)), objective)  # loads the compiled loops
    before = _most_mb()
    began = time.perf_counter()
    local_engine(threads, watch)(cells, objective)
    sweep = float(np.median(np.diff(ends)))
    return {
        "ratings": len(stars),
        "sweep_seconds": round(sweep, 4),
        "start_seconds": round(max(0.0, ends[0] - began - sweep), 3),
        "mb": round(_most_mb()),
        "mb_before": round(before),
    }


def _most_mb() -> float:
    """Return the most memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def picture(points: list[dict[str, Any]]) -> str:
    """Return the curves as SVG: seconds above, memory below."""

    def panel(by: str, key: str, what: str, unit: float) -> Panel:
        lines = [
            Line(kind, [(p[by], p[key] / unit) for p in points if p["by"] == by and p["feedback"] == kind])
            for kind in _SETTINGS
        ]
        return Panel(by, what, lines)

    rows = [
        [panel(by, key, what, unit) for by in ("ratings", "rows", "factors")]
        for key, what, unit in (("sweep_seconds", "seconds a sweep", 1), ("mb", "GB at most", 1000))
    ]
    return draw("Seconds a sweep and memory of ALS against ratings, rows and factors", rows)


def show(result: dict[str, Any]) -> None:
    """Print a table for each curve."""
    for by in ("ratings", "rows", "factors"):
        print(
            f"\n{'feedback':9} {'ratings':>12} {'rows':>10} {'factors':>8} {'a sweep':>10} {'start':>9} {'memory':>10}"
        )
        for p in result["ours"]["points"]:
            if p["by"] == by:
                size = f"{p['ratings']:12,} {p['rows']:10,} {p['factors']:8}"
                print(
                    f"{p['feedback']:9} {size} {p['sweep_seconds']:8.3f} s {p['start_seconds']:7.2f} s {p['mb']:7,} MB"
                )


def main() -> None:
    """Run one of the two functions, as a process of its own; print what it returns."""
    work, folder, *rest = sys.argv[1:]
    if work == "generate":
        told = generate(Path(folder), *map(int, rest))
    else:
        told = train(Path(folder), rest[0], *map(int, rest[1:]))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
