"""Both ALS engines: that they learn, and that they come to the same."""

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from nextreel.errors import ModelError
from nextreel.model.model import Factors
from nextreel.train.engine import Cells, Engine, Objective
from nextreel.train.local import Sweep, local_engine
from nextreel.train.mllib import mllib_engine

N_USERS, N_TITLES, RANK = 60, 40, 2
EXPLICIT = partial(Objective, "explicit", factors=4, iterations=8, regularization=0.01)
IMPLICIT = partial(Objective, "implicit", factors=4, iterations=8, regularization=0.05)


@pytest.fixture(params=[pytest.param("mllib", marks=pytest.mark.xdist_group("spark")), "local"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "local":
        return local_engine()
    return mllib_engine(request.getfixturevalue("spark"))


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


def test_explicit_recovers_a_low_rank_matrix_that_biases_cannot(engine: Engine) -> None:
    matrix = low_rank()
    known = np.random.default_rng(2).random(matrix.shape) < 0.5
    found = engine(cells(matrix, known), EXPLICIT(seed=1))
    assert (found.users.shape, found.titles.shape) == ((N_USERS, 4), (N_TITLES, 4))
    assert found.users.dtype == found.titles.dtype == np.float32
    off = (found.users @ found.titles.T - matrix)[~known]
    seen = np.where(known, matrix, np.nan)
    rows, columns = np.nanmean(seen, axis=1, keepdims=True), np.nanmean(seen, axis=0, keepdims=True)
    by_bias = (rows + columns - np.nanmean(seen) - matrix)[~known]
    assert np.sqrt(np.mean(off**2)) < 0.25 * np.sqrt(np.mean(by_bias**2))


def test_rows_without_cells_have_zero_factors(engine: Engine) -> None:
    known = np.zeros((7, 5), np.bool_)
    known[[1, 1, 5], [0, 3, 3]] = True
    found = engine(cells(np.ones((7, 5), np.float32), known), EXPLICIT(seed=1))
    assert np.flatnonzero(np.any(found.users != 0, axis=1)).tolist() == [1, 5]
    assert np.flatnonzero(np.any(found.titles != 0, axis=1)).tolist() == [0, 3]
    assert found.users.shape == (7, 4)
    assert found.titles.shape == (5, 4)
    products = (found.users @ found.titles.T)[known]
    np.testing.assert_allclose(products, 1.0, atol=0.1)


@pytest.mark.parametrize("objective", [EXPLICIT(), IMPLICIT()], ids=lambda objective: objective.kind)
def test_no_cells(engine: Engine, objective: Objective) -> None:
    nothing = np.zeros((3, 2), np.float32)
    found = engine(cells(nothing, nothing > 0), objective)
    assert found.users.tolist() == np.zeros((3, 4)).tolist()
    assert found.titles.tolist() == np.zeros((2, 4)).tolist()


def test_implicit_ranks_what_alike_users_watch(engine: Engine) -> None:
    # Two audiences, each with its own half of the titles, of which everyone has seen two thirds.
    own = (np.arange(N_USERS)[:, None] % 2) == (np.arange(N_TITLES)[None, :] % 2)
    known = own & (np.random.default_rng(3).random(own.shape) < 2 / 3)
    found = engine(cells(np.ones(own.shape, np.float32), known), IMPLICIT(alpha=6.0, seed=1))
    scores = found.users @ found.titles.T
    unseen, others = scores[own & ~known], scores[~own]
    assert np.mean(unseen[:, None] > others[None, :]) > 0.97
    assert scores[known].mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_the_seed_alone_decides(engine: Engine, kind: str) -> None:
    known = np.random.default_rng(4).random((N_USERS, N_TITLES)) < 0.3
    given = cells(np.abs(low_rank()), known)
    objective = EXPLICIT if kind == "explicit" else IMPLICIT

    def fit(seed: int) -> Factors:
        return engine(given, objective(seed=seed, iterations=2))

    first, again, other = fit(1), fit(1), fit(2)
    np.testing.assert_array_equal(first.users, again.users)
    np.testing.assert_array_equal(first.titles, again.titles)
    assert not np.allclose(first.users, other.users)


# What both come to


def world(seed: int) -> tuple[Cells, Cells]:
    """Stars of 300 users for 120 titles, off their mean, by 3 factors and noise; a tenth of them held out."""
    rng = np.random.default_rng(seed)
    product = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 120)) / np.sqrt(3)
    matrix = (product + rng.normal(0, 0.5, product.shape)).astype(np.float32)
    drawn = rng.random(matrix.shape)
    return cells(matrix, (drawn < 0.25) & (drawn > 0.025)), cells(matrix, drawn < 0.025)


def squared(cells: Cells, found: Factors) -> float:
    return float(np.square(cells.value - (found.users[cells.user] * found.titles[cells.title]).sum(1)).sum())


def explicit_objective(cells: Cells, found: Factors, regularization: float) -> float:
    users = np.bincount(cells.user, minlength=cells.n_users) @ np.square(found.users).sum(1)
    titles = np.bincount(cells.title, minlength=cells.n_titles) @ np.square(found.titles).sum(1)
    return squared(cells, found) + regularization * float(users + titles)


def implicit_objective(cells: Cells, found: Factors, regularization: float, alpha: float) -> float:
    value = np.zeros((cells.n_users, cells.n_titles))
    value[cells.user, cells.title] = cells.value
    liked = value > 0
    error = (1 + alpha * np.abs(value)) * np.square(liked - found.users @ found.titles.T)
    shrunk = liked.sum(1) @ np.square(found.users).sum(1) + liked.sum(0) @ np.square(found.titles).sum(1)
    return float(error.sum() + regularization * shrunk)


@pytest.mark.parametrize("seed", range(5))
def test_explicit_training_matches_mllib(spark: SparkSession, seed: int) -> None:
    """With as many factors as the world has: with more, noise is learned, by each in its own way."""
    train, test = world(seed)
    objective = Objective("explicit", factors=3, iterations=12, regularization=0.05, seed=seed)
    own, mllib = local_engine()(train, objective), mllib_engine(spark)(train, objective)
    assert explicit_objective(train, own, 0.05) == pytest.approx(explicit_objective(train, mllib, 0.05), rel=0.005)
    assert np.sqrt(squared(test, own)) == pytest.approx(np.sqrt(squared(test, mllib)), rel=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_implicit_training_matches_mllib(spark: SparkSession, seed: int) -> None:
    train, _ = world(seed)
    objective = Objective("implicit", factors=8, iterations=12, regularization=0.05, alpha=2.0, seed=seed)
    own, mllib = local_engine()(train, objective), mllib_engine(spark)(train, objective)
    expected = implicit_objective(train, mllib, 0.05, 2.0)
    assert implicit_objective(train, own, 0.05, 2.0) == pytest.approx(expected, rel=0.005)


# The local engine's own


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_the_number_of_threads_does_not_decide(kind: Literal["explicit", "implicit"]) -> None:
    objective = Objective(kind, factors=4, iterations=3, regularization=0.05)
    one, two, many = (local_engine(threads)(world(1)[0], objective) for threads in (1, 2, 7))
    for other in (two, many):
        np.testing.assert_array_equal(one.users, other.users)
        np.testing.assert_array_equal(one.titles, other.titles)


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
@pytest.mark.parametrize("steps", [None, 3])
def test_each_sweep_tells_its_objective_which_falls(kind: Literal["explicit", "implicit"], steps: int | None) -> None:
    train, _ = world(0)
    told: list[float] = []

    def watch(sweep: Sweep) -> bool:
        f = sweep.factors
        explicit = kind == "explicit"
        expected = explicit_objective(train, f, 0.1) if explicit else implicit_objective(train, f, 0.1, 2.0)
        assert sweep.objective == pytest.approx(expected, rel=1e-4)
        told.append(sweep.objective)
        return False

    objective = Objective(kind, factors=5, iterations=8, regularization=0.1, alpha=2.0)
    local_engine(watch=watch, steps=steps)(train, objective)
    assert len(told) == 8
    assert told == sorted(told, reverse=True)


def test_whoever_watches_may_end_it() -> None:
    seen: list[int] = []

    def watch(sweep: Sweep) -> bool:
        seen.append(sweep.number)
        return sweep.number == 3

    local_engine(watch=watch)(world(0)[0], EXPLICIT())
    assert seen == [1, 2, 3]


def test_it_goes_on_from_other_factors() -> None:
    train, _ = world(0)
    objective = Objective("explicit", factors=5, iterations=20, regularization=0.1)
    trained = local_engine()(train, objective)
    again = local_engine()(train, replace(objective, iterations=1), trained)
    cold = local_engine()(train, replace(objective, iterations=1))
    there = explicit_objective(train, trained, 0.1)
    assert explicit_objective(train, again, 0.1) <= there
    assert explicit_objective(train, cold, 0.1) > 1.1 * there


@pytest.mark.parametrize("scaling", ["none", "all"])
def test_other_scalings_of_implicit_feedback_have_their_own_objective(scaling: Literal["none", "all"]) -> None:
    train, _ = world(0)
    told: list[Sweep] = []

    def watch(sweep: Sweep) -> bool:
        told.append(sweep)
        return False

    objective = Objective("implicit", factors=5, iterations=4, regularization=0.1, alpha=2.0, scaling=scaling)
    found = local_engine(watch=watch)(train, objective)
    of_users, of_titles = (np.square(side).sum(1) for side in (found.users, found.titles))
    if scaling == "all":
        of_users = of_users * (train.n_titles + 2.0 * np.bincount(train.user, minlength=train.n_users))
        of_titles = of_titles * (train.n_users + 2.0 * np.bincount(train.title, minlength=train.n_titles))
    expected = implicit_objective(train, found, 0.0, 2.0) + 0.1 * float(of_users.sum() + of_titles.sum())
    assert told[-1].objective == pytest.approx(expected, rel=1e-4)


def test_mllib_knows_one_scaling(spark: SparkSession) -> None:
    with pytest.raises(ModelError, match="MLlib"):
        mllib_engine(spark)(world(0)[0], IMPLICIT(scaling="all"))
