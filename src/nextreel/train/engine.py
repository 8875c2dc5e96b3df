"""What an ALS engine is: values of user-title cells in, factors of both sides out."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nextreel.model.model import Factors
from nextreel.model.solve import Scaling


@dataclass(frozen=True)
class Cells:
    """n known cells of a matrix of users by titles: ``user``, ``title`` (rows), ``value``, each of shape (n,)."""

    n_users: int
    n_titles: int
    user: NDArray[np.int32]
    title: NDArray[np.int32]
    value: NDArray[np.float32]


@dataclass(frozen=True)
class Objective:
    """What ALS minimises.

    ``explicit``: Σ (value - x·y)² over the known cells, plus λ (Σ n_u |x_u|² + Σ n_t |y_t|²), the weighted
    regularisation of Zhou et al. 2008 (ALS-WR). ``implicit``: Σ c (p - x·y)² over all cells with the preference p = 1
    for a known cell of positive value, else 0, and the confidence c = 1 + α |value| (Hu, Koren, Volinsky 2008), λ
    weighted as ``scaling`` says: `nextreel.model.solve.implicit`. MLlib knows "positive" alone.
    """

    kind: Literal["explicit", "implicit"]
    factors: int
    iterations: int
    regularization: float
    alpha: float = 1.0
    seed: int = 0
    scaling: Scaling = "positive"


class Engine(Protocol):
    """Factorises. ``start`` holds factors that an engine which can goes on from; rows that are new there are zero."""

    def __call__(self, cells: Cells, objective: Objective, start: Factors | None = None) -> Factors:
        """Return the factors that come closest to the least of ``objective`` on ``cells``."""
        ...
