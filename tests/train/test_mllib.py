"""MLlib's ALS as an engine."""

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from nextreel.model.model import Factors
from nextreel.train.engine import Cells, Objective
from nextreel.train.mllib import mllib_engine

N_USERS, N_TITLES, RANK = 60, 40, 2
EXPLICIT = partial(Objective, "explicit", factors=4, iterations=8, regularization=0.01)
IMPLICIT = partial(Objective, "implicit", factors=4, iterations=8, regularization=0.05)


def low_rank() -> NDArray[np.float32]:
    """A matrix (N_USERS, N_TITLES) of rank 2 whose rows and columns have means about zero."""
    rng = np.random.default_rng(1)
    product = rng.normal(size=(N_USERS, RANK)) @ rng.normal(size=(RANK, N_TITLES))
    found: NDArray[np.float32] = product.astype(np.float32)
    return found


def cells(matrix: NDArray[np.float32], known: NDArray[np.bool_]) -> Cells:
    user, title = np.nonzero(known)
    n_users, n_titles = matrix.shape
    return Cells(n_users, n_titles, user.astype(np.int32), title.astype(np.int32), matrix[known])


def test_explicit_recovers_a_low_rank_matrix_that_biases_cannot(spark: SparkSession) -> None:
    matrix = low_rank()
    known = np.random.default_rng(2).random(matrix.shape) < 0.5
    found = mllib_engine(spark)(cells(matrix, known), EXPLICIT(seed=1))
    assert (found.users.shape, found.titles.shape) == ((N_USERS, 4), (N_TITLES, 4))
    assert found.users.dtype == found.titles.dtype == np.float32
    off = (found.users @ found.titles.T - matrix)[~known]
    seen = np.where(known, matrix, np.nan)
    rows, columns = np.nanmean(seen, axis=1, keepdims=True), np.nanmean(seen, axis=0, keepdims=True)
    by_bias = (rows + columns - np.nanmean(seen) - matrix)[~known]
    assert np.sqrt(np.mean(off**2)) < 0.25 * np.sqrt(np.mean(by_bias**2))


def test_rows_without_cells_have_zero_factors(spark: SparkSession) -> None:
    known = np.zeros((7, 5), np.bool_)
    known[[1, 1, 5], [0, 3, 3]] = True
    found = mllib_engine(spark)(cells(np.ones((7, 5), np.float32), known), EXPLICIT(seed=1))
    assert np.flatnonzero(np.any(found.users != 0, axis=1)).tolist() == [1, 5]
    assert np.flatnonzero(np.any(found.titles != 0, axis=1)).tolist() == [0, 3]
    assert found.users.shape == (7, 4)
    assert found.titles.shape == (5, 4)
    products = (found.users @ found.titles.T)[known]
    np.testing.assert_allclose(products, 1.0, atol=0.1)


@pytest.mark.parametrize("objective", [EXPLICIT(), IMPLICIT()], ids=lambda objective: objective.kind)
def test_no_cells(spark: SparkSession, objective: Objective) -> None:
    nothing = np.zeros((3, 2), np.float32)
    found = mllib_engine(spark)(cells(nothing, nothing > 0), objective)
    assert found.users.tolist() == np.zeros((3, 4)).tolist()
    assert found.titles.tolist() == np.zeros((2, 4)).tolist()


def test_implicit_ranks_what_alike_users_watch(spark: SparkSession) -> None:
    # Two audiences, each with its own half of the titles, of which everyone has seen two thirds.
    own = (np.arange(N_USERS)[:, None] % 2) == (np.arange(N_TITLES)[None, :] % 2)
    known = own & (np.random.default_rng(3).random(own.shape) < 2 / 3)
    found = mllib_engine(spark)(cells(np.ones(own.shape, np.float32), known), IMPLICIT(alpha=6.0, seed=1))
    scores = found.users @ found.titles.T
    unseen, others = scores[own & ~known], scores[~own]
    assert np.mean(unseen[:, None] > others[None, :]) > 0.97
    assert scores[known].mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_the_seed_alone_decides(spark: SparkSession, kind: str) -> None:
    known = np.random.default_rng(4).random((N_USERS, N_TITLES)) < 0.3
    given = cells(np.abs(low_rank()), known)
    objective = EXPLICIT if kind == "explicit" else IMPLICIT

    def fit(seed: int) -> Factors:
        return mllib_engine(spark)(given, objective(seed=seed, iterations=2))

    first, again, other = fit(1), fit(1), fit(2)
    np.testing.assert_array_equal(first.users, again.users)
    np.testing.assert_array_equal(first.titles, again.titles)
    assert not np.allclose(first.users, other.users)
