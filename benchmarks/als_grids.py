"""Settings to choose from: as many for every engine, and more where the best of them lies at an edge.

Values of a setting have equal ratios. Once the whole grid has been tried, the neighbours of the best setting are, too,
until none of its neighbours is untried: so nobody is judged by a setting that one step further would have bettered.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.als_engines import Settings
from benchmarks.als_runs import Run
from benchmarks.als_tasks import Kind

#: Settings tried beyond the grid, at most.
_BEYOND = 12

_Places = tuple[int, ...]
#: Settings: which of an engine's grids they are of, and where on its axes.
Place = tuple[int, _Places]


@dataclass(frozen=True)
class Axis:
    """Values of a setting: ``n`` from ``lowest`` on, ``a_decade`` of them in each decade."""

    name: str
    lowest: float
    n: int
    a_decade: int = 2

    def value(self, place: int) -> float:
        """Return the value at a place, which may lie outside of 0 to n - 1."""
        return float(f"{self.lowest * 10 ** (place / self.a_decade):.2g}")


@dataclass(frozen=True)
class Grid:
    """Settings that vary along axes, and those that do not."""

    axes: tuple[Axis, ...]
    fixed: Settings

    def __iter__(self) -> Iterator[_Places]:
        return itertools.product(*(range(axis.n) for axis in self.axes))

    def settings(self, places: _Places) -> Settings:
        """Return the settings at a place on each axis."""
        return {axis.name: axis.value(place) for axis, place in zip(self.axes, places, strict=True)} | self.fixed

    def neighbours(self, places: _Places) -> Iterator[tuple[str, _Places]]:
        """Yield the places a step away, with the name of the setting that differs."""
        for i, axis in enumerate(self.axes):
            for step in (-1, 1):
                yield axis.name, (*places[:i], places[i] + step, *places[i + 1 :])


@dataclass(frozen=True)
class Search:
    """The runs that were tried, where the best one is, and settings of which the best may lie further out."""

    runs: list[Run]
    at: Place
    at_edge: list[str]

    @property
    def best(self) -> Run:
        """The run of the best quality."""
        return max(self.runs, key=lambda run: run.best)

    def soonest(self, quality: float) -> Run:
        """Return the run that needs the fewest sweeps to a quality, of those the best."""
        reached = [run for run in self.runs if run.best >= quality]
        return min(reached, key=lambda run: (run.sweeps_to(quality), -run.best))


def search(grids: list[Grid], run: Callable[[Settings], Run], near: Place | None = None) -> Search:
    """Run all settings of the grids, or those ``near`` a place alone, then the best one's neighbours."""
    everything = [(which, places) for which, grid in enumerate(grids) for places in grid]
    tried: dict[Place, Run] = {
        (which, places): run(grids[which].settings(places)) for which, places in ([near] if near else everything)
    }
    most = len(tried) + _BEYOND
    while True:
        which, best = max(tried, key=lambda at: tried[at].best)
        untried = {at: name for name, at in grids[which].neighbours(best) if (which, at) not in tried}
        if not untried or len(tried) + len(untried) > most:
            return Search(list(tried.values()), (which, best), sorted(set(untried.values())))
        tried |= {(which, at): run(grids[which].settings(at)) for at in untried}


def _alphas(name: str = "alpha", lowest: float = 3.2) -> Axis:
    return Axis(name, lowest, 3)


#: 6 settings for each engine and explicit feedback, 18 for implicit; engines that have two variants share them out.
GRIDS: dict[tuple[str, Kind], list[Grid]] = {
    ("nextreel", "explicit"): [Grid((Axis("regularization", 0.025, 6, 5),), {})],
    ("mllib", "explicit"): [Grid((Axis("regParam", 0.025, 6, 5),), {})],
    ("cmfrec", "explicit"): [Grid((Axis("lambda_", 0.025, 6, 5),), {})],
    ("nextreel", "implicit"): [
        Grid((Axis("regularization", 32.0, 3), _alphas()), {"scaling": "none"}),
        Grid((Axis("regularization", 0.01, 3), _alphas()), {"scaling": "all"}),
    ],
    ("mllib", "implicit"): [Grid((Axis("regParam", 0.032, 6), _alphas()), {})],
    ("implicit", "implicit"): [Grid((Axis("regularization", 3.2, 6), _alphas()), {})],
    ("irspack", "implicit"): [
        Grid((Axis("reg", 3.2, 3), _alphas("alpha0", 0.032)), {"nu": 0.0}),
        Grid((Axis("reg", 0.0032, 3), _alphas("alpha0", 0.032)), {"nu": 1.0}),
    ],
    ("cmfrec", "implicit"): [Grid((Axis("lambda_", 3.2, 6), _alphas()), {})],
}
