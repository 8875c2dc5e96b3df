"""A training by the clock: seconds and quality after its sweeps. The clock stands still while quality is measured."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from benchmarks.als_engines import Engine, Settings
from benchmarks.als_tasks import Task
from nextreel.model.model import Factors


@dataclass
class Run:
    """Sweeps, seconds from the start until they had ended, and the quality then (higher is better), side by side."""

    settings: Settings
    stepwise: bool
    sweeps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The best quality."""
        return max(self.quality)

    @property
    def sweep_seconds(self) -> float:
        """Seconds a sweep without the start: the median of sweeps after the first, or of what more of them cost.

        The second is the median over pairs of trainings (Theil 1950, Sen 1968): one that was held up decides nothing.
        """
        if self.stepwise:
            return float(np.median(np.diff(self.seconds)))
        pairs = combinations(zip(self.sweeps, self.seconds, strict=True), 2)
        return float(np.median([(b - a) / (m - n) for (n, a), (m, b) in pairs]))

    def sweeps_to(self, quality: float) -> int | None:
        """Return the sweeps after which the quality was reached."""
        return next((n for n, q in zip(self.sweeps, self.quality, strict=True) if q >= quality), None)

    def seconds_to(self, quality: float) -> float | None:
        """Return the seconds until the quality was reached."""
        return next((s for s, q in zip(self.seconds, self.quality, strict=True) if q >= quality), None)


@dataclass(frozen=True)
class Until:
    """When a ladder of sweeps ends: the quality is reached, or one training took so many seconds."""

    quality: float = np.inf
    seconds: float = np.inf


_ALL = Until()
#: Trainings that the seconds of a sweep are taken from, where the engine tells of no sweep.
_LEAST = 3


def train(
    engine: Engine, task: Task, settings: Settings, factors: int, ladder: Sequence[int], until: Until = _ALL
) -> Run:
    """Train on the task that the engine has loaded.

    ``ladder`` holds the numbers of sweeps to look at. An engine that tells of each sweep is trained once and looked at
    after every one; another is trained anew for each number, in at least three trainings.
    """
    run = Run(settings, engine.stepwise)
    since = time.perf_counter()

    def told(factors: Callable[[], Factors]) -> None:
        nonlocal since
        spent = time.perf_counter() - since
        if engine.stepwise:
            run.sweeps.append(len(run.sweeps) + 1)
            run.seconds.append((run.seconds[-1] if run.seconds else 0.0) + spent)
        else:
            run.sweeps.append(sweeps)
            run.seconds.append(spent)
        quality = task.judge(factors())
        run.quality.append(-np.inf if np.isnan(quality) else quality)
        since = time.perf_counter()

    for sweeps in [max(ladder)] if engine.stepwise else ladder:
        since = time.perf_counter()
        engine.fit(settings, factors, sweeps, told)
        enough = run.best >= until.quality or run.seconds[-1] > until.seconds
        if enough and len(run.sweeps) >= _LEAST:
            break
    return run
