"""Implicit ALS comes to what the library `implicit` comes to: its objective, over the whole matrix."""

import numpy as np
import pytest

from nextreel.model.model import Factors
from nextreel.model.solve import Rows
from nextreel.train.engine import Cells, Objective
from nextreel.train.local import local_engine

REGULARIZATION, ALPHA, FACTORS, SWEEPS = 10.0, 5.0, 8, 40


def liked(seed: int) -> Cells:
    """Titles liked by 300 users among 120, by 3 tastes and by popularity."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 120))
    popular = np.arange(1, 121) ** -0.5
    user, title = np.nonzero(rng.random(taste.shape) < popular / (1 + np.exp(1 - 2 * taste)))
    return Cells(300, 120, user.astype(np.int32), title.astype(np.int32), np.ones(len(user), np.float32))


def objective(cells: Cells, found: Factors) -> float:
    preference = np.zeros((cells.n_users, cells.n_titles))
    preference[cells.user, cells.title] = 1
    users, titles = found.users.astype(np.float64), found.titles.astype(np.float64)
    error = (1 + ALPHA * preference) * (preference - users @ titles.T) ** 2
    return float(error.sum() + REGULARIZATION * (np.square(users).sum() + np.square(titles).sum()))


def by_implicit(cells: Cells, seed: int) -> Factors:
    pytest.importorskip("implicit", reason="the library implicit comes with ./run bench")
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    rows = Rows.of(cells.user, cells.title, cells.value, cells.n_users)
    # Its alpha is the whole weight of a liked title, not what is added to that of any other.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            FACTORS, REGULARIZATION, alpha=1 + ALPHA, iterations=SWEEPS, random_state=seed, num_threads=2
        )
        matrix = csr_matrix((rows.values, rows.columns, rows.start), shape=(cells.n_users, cells.n_titles))
        model.fit(matrix, show_progress=False)
    return Factors(model.user_factors, model.item_factors)


@pytest.mark.parametrize("seed", range(5))
def test_implicit_training_matches_the_library_implicit(seed: int) -> None:
    cells = liked(seed)
    library = objective(cells, by_implicit(cells, seed))
    asked = Objective("implicit", FACTORS, SWEEPS, REGULARIZATION, ALPHA, seed=seed, scaling="none")
    assert objective(cells, local_engine()(cells, asked)) == pytest.approx(library, rel=0.005)
