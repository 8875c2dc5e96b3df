"""Whether nextreel's implicit ALS comes to what `implicit` comes to: the same objective, on the same data.

    Σ_all c (p - x·y)² + λ (Σ |x|² + Σ |y|²),  c = 1 + α and p = 1 for liked titles, else c = 1 and p = 0

Both start at random, each in its own way, and do three steps of conjugate gradients a row and sweep.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.als_engines import Engine, Implicit, Nextreel, Settings
from benchmarks.als_tasks import Task
from nextreel.model.model import Factors

_SWEEPS = 40


def implicit_objective(task: Task, found: Factors, regularization: float, alpha: float) -> float:
    """Return the objective above, without making the whole matrix: Σ_all (x·y)² = Σ (XᵀX ∘ YᵀY)."""
    users, titles = found.users.astype(np.float64), found.titles.astype(np.float64)
    scores = np.einsum("nk,nk->n", users[task.train.user], titles[task.train.title])
    everywhere = np.sum((users.T @ users) * (titles.T @ titles))
    liked = np.sum((1 + alpha) * (1 - scores) ** 2 - scores**2)
    return float(everywhere + liked + regularization * (np.sum(users**2) + np.sum(titles**2)))


def difference(task: Task, factors: int, threads: int, seed: int, regularization: float, alpha: float) -> float:
    """Return by how much of `implicit`'s objective ours is larger, after as many sweeps."""
    own, theirs = Nextreel(threads, seed), Implicit(threads, seed)
    shrinkage: Settings = {"regularization": regularization}
    ours = _trained(own, task, shrinkage | {"alpha": alpha, "scaling": "none"}, factors)
    with threadpool_limits(1, "blas"):
        library = _trained(theirs, task, shrinkage | {"alpha": 1 + alpha}, factors)
    values = [implicit_objective(task, found, regularization, alpha) for found in (ours, library)]
    return values[0] / values[1] - 1


def _trained(engine: Engine, task: Task, settings: Settings, factors: int) -> Factors:
    found: list[Factors] = []
    engine.load(task)
    engine.fit(settings, factors, _SWEEPS, lambda get: found.append(get()))
    return found[-1]
