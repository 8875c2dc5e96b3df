"""ALS on this machine: all its cores, no Spark."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from nextreel.model.arrays import Floats
from nextreel.model.model import Factors
from nextreel.model.solve import Rows, Systems, explicit, implicit, loss, solve
from nextreel.train.engine import Cells, Engine, Objective

#: Steps of conjugate gradients a row and sweep. Two leave the first sweeps behind, four cost more than they bring:
#: docs/performance.md.
STEPS = 3

#: Mean and standard deviation of the titles' factors at the start. What they have in common lets the first sweep of
#: implicit feedback find what is popular: with a mean of 0 that took two.
_START = {"explicit": (0.0, 0.1), "implicit": (0.01, 0.03)}


@dataclass(frozen=True)
class Sweep:
    """Where training stands after a sweep over users and titles: its number from 1, the factors, the objective.

    The objective is a pass over all cells, made when it is asked for. It and the factors are those of this sweep until
    the next one begins.
    """

    number: int
    factors: Factors
    measure: Callable[[], float]

    @property
    def objective(self) -> float:
        """What is minimised."""
        return self.measure()


def local_engine(
    threads: int | None = None,
    watch: Callable[[Sweep], bool] | None = None,
    steps: int | None = STEPS,
) -> Engine:
    """Return the local ALS as an engine: the same factors for a seed, whatever the number of ``threads``.

    ``watch`` is told of each sweep, and ends the training by returning True. ``steps`` None solves every row exactly.
    """

    def fit(cells: Cells, objective: Objective, start: Factors | None = None) -> Factors:
        found = _begin(cells, objective, start)
        by_user = Rows.of(cells.user, cells.title, cells.value, cells.n_users)
        by_title = Rows.of(cells.title, cells.user, cells.value, cells.n_titles)
        for number in range(1, objective.iterations + 1):
            of_users = _systems(by_user, found.titles, objective, threads)
            solve(of_users, found.titles, found.users, steps, threads)
            of_titles = _systems(by_title, found.users, objective, threads)
            solve(of_titles, found.users, found.titles, steps, threads)
            if watch and watch(Sweep(number, found, partial(_objective, of_users, of_titles, found, threads))):
                break
        return found

    return fit


def _begin(cells: Cells, objective: Objective, start: Factors | None) -> Factors:
    """Return the factors to begin with: those given, random ones for titles that have none, zero for users."""
    k = objective.factors
    mean, spread = _START[objective.kind]
    drawn = np.random.default_rng(objective.seed).standard_normal((cells.n_titles, k), np.float32) * spread + mean
    users = np.zeros((cells.n_users, k), np.float32)
    if start is None or start.users.shape[1] != k:
        return Factors(users, drawn.astype(np.float32))
    known = np.any(start.titles != 0, axis=1, keepdims=True)
    titles = np.where(known, start.titles, drawn).astype(np.float32)
    return Factors(start.users.astype(np.float32, copy=True), titles)


def _systems(rows: Rows, other: Floats, objective: Objective, threads: int | None) -> Systems:
    if objective.kind == "explicit":
        return explicit(rows, objective.regularization)
    return implicit(rows, other, objective.regularization, objective.alpha, objective.scaling, threads)


def _objective(of_users: Systems, of_titles: Systems, found: Factors, threads: int | None) -> float:
    return loss(of_titles, found.titles, found.users, threads) + _rest(of_users, found.users)


def _rest(of_users: Systems, users: Floats) -> float:
    """Return what the titles' loss leaves out: the users' regularisation, and the error of factors of zero."""
    shrunk = np.dot(of_users.regularization.astype(np.float64), (users.astype(np.float64) ** 2).sum(1))
    # A cell's error at zero, c p² or v²; in explicit feedback the targets are the values.
    zero = of_users.targets if len(of_users.gram) else np.square(of_users.targets, dtype=np.float64)
    return float(shrunk + zero.sum(dtype=np.float64))
