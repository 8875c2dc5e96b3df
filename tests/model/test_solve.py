"""The kernel against plain float64 numpy: rows of every kind, both feedbacks, exact and by conjugate gradients."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from nextreel.model.solve import Rows, Systems, explicit, gram, implicit, loss, solve

N_COLUMNS, K = 12_000, 24


def rows_of(*lengths: int, value: Callable[[np.random.Generator, int], NDArray[np.float64]] | None = None) -> Rows:
    rng = np.random.default_rng(3)
    row = np.repeat(np.arange(len(lengths)), lengths)
    column = np.concatenate([rng.choice(N_COLUMNS, n, replace=False) for n in lengths]) if lengths else np.zeros(0, int)
    values = rng.normal(0, 1, len(row)) if value is None else value(rng, len(row))
    return Rows.of(row, column, values, len(lengths))


def factors(seed: int = 5, scale: float = 0.3) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(0, scale, (N_COLUMNS, K))).astype(np.float32)


def by_numpy(systems: Systems, other: NDArray[np.float32]) -> NDArray[np.float64]:
    rows, y = systems.rows, other.astype(np.float64)
    found = np.zeros((len(rows), y.shape[1]))
    for i in range(len(rows)):
        part = slice(rows.start[i], rows.start[i + 1])
        if part.start == part.stop:
            continue
        own, w, t = y[rows.columns[part]], systems.weights[part], systems.targets[part]
        a = own.T @ (own * w[:, None].astype(np.float64)) + float(systems.regularization[i]) * np.eye(y.shape[1])
        a = a + (y.T @ y if len(systems.gram) else 0)
        found[i] = np.linalg.solve(a, own.T @ t.astype(np.float64))
    return found


def off(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """The largest error of a row, relative to the row."""
    size = np.linalg.norm(expected, axis=1)
    error = np.linalg.norm(found - expected, axis=1)
    assert (found[size == 0] == 0).all()
    return float(np.max(error[size > 0] / size[size > 0]))


LENGTHS = (0, 1, 2, K - 1, K, K + 1, 0, 300, 10_000)
VALUES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]] | None] = {
    "random": None,
    "all equal": lambda rng, n: np.full(n, 3.5),
    "all zero but one": lambda rng, n: np.where(np.arange(n) == 0, 1.0, 0.0),
    "huge": lambda rng, n: rng.normal(0, 1e20, n),
    "tiny": lambda rng, n: rng.normal(0, 1e-25, n),
    "huge and tiny": lambda rng, n: rng.normal(0, 1, n) * np.where(np.arange(n) % 2, 1e12, 1e-12),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_explicit_rows_are_exact(value: Callable[[np.random.Generator, int], NDArray[np.float64]] | None) -> None:
    systems, other = explicit(rows_of(*LENGTHS, value=value), 0.05), factors()
    assert off(solve(systems, other), by_numpy(systems, other)) < 1e-4


@pytest.mark.parametrize("scaling", ["positive", "none", "all"])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e8])
def test_implicit_rows_are_exact(scaling: str, scale: float) -> None:
    rows, other = rows_of(*LENGTHS, value=lambda rng, n: rng.normal(0.5, 1, n) * scale), factors()
    systems = implicit(rows, other, 0.3, 2.0, scaling)  # type: ignore[arg-type]
    # A row of which nothing is liked is zero; λ of it is 0 where it counts what is liked.
    assert off(solve(systems, other), by_numpy(systems, other)) < 1e-3


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_factors_of_any_size(scale: float) -> None:
    systems, other = explicit(rows_of(*LENGTHS), 0.05 * scale**2), factors(scale=0.3 * scale)
    assert off(solve(systems, other), by_numpy(systems, other)) < 1e-3


def test_titles_that_are_all_alike() -> None:
    """Every column has the same factors: the system is of rank one but for its regularisation."""
    systems, other = explicit(rows_of(*LENGTHS), 0.05), np.ones((N_COLUMNS, K), np.float32)
    assert off(solve(systems, other), by_numpy(systems, other)) < 1e-3


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_conjugate_gradients_come_to_the_same(feedback: str) -> None:
    rows, other = rows_of(*LENGTHS), factors()
    systems = explicit(rows, 0.05) if feedback == "explicit" else implicit(rows, other, 0.3, 2.0)
    exact = solve(systems, other)
    out = np.random.default_rng(1).normal(0, 0.1, exact.shape).astype(np.float32)
    errors = [off(solve(systems, other, out, steps), exact) for steps in (2, 2, 2, 60)]
    # Below what float32 tells apart they may be anything.
    assert all(later < max(earlier, 1e-5) for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("steps", [None, 3])
def test_the_number_of_threads_changes_nothing(steps: int | None) -> None:
    rows, other = rows_of(*range(400)), factors()
    found = []
    for threads in (1, 2, 5):
        systems = implicit(rows, other, 0.3, 2.0, threads=threads)
        out = np.full((len(rows), K), 0.1, np.float32)
        found.append((solve(systems, other, out, steps, threads), loss(systems, out, other, threads)))
    assert all((f == found[0][0]).all() and objective == found[0][1] for f, objective in found)


def test_the_gram_matrix() -> None:
    y = factors()
    assert np.allclose(gram(y), y.T.astype(np.float64) @ y, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_the_loss_is_that_of_all_cells(feedback: str) -> None:
    """Up to its constant: against the sum over the whole matrix, written out."""
    rng = np.random.default_rng(0)
    row, column = np.nonzero(rng.random((30, 40)) < 0.2)
    value = rng.normal(0.3, 1, len(row)).astype(np.float32)
    rows = Rows.of(row, column, value, 30)
    x, y = (rng.normal(0, 0.5, (n, 6)).astype(np.float32) for n in (30, 40))
    whole = np.zeros((30, 40))
    whole[row, column] = value
    known = np.zeros((30, 40), bool)
    known[row, column] = True
    if feedback == "explicit":
        systems = explicit(rows, 0.1)

        def squared(x: NDArray[np.float32]) -> float:
            return float((((whole - x @ y.T) ** 2)[known]).sum() + 0.1 * (known.sum(1) * (x**2).sum(1)).sum())
    else:
        systems = implicit(rows, y, 0.1, 2.0)

        def squared(x: NDArray[np.float32]) -> float:
            confidence, liked = 1 + 2 * np.abs(whole), whole > 0
            return float((confidence * (liked - x @ y.T) ** 2).sum() + 0.1 * (liked.sum(1) * (x**2).sum(1)).sum())

    assert loss(systems, x, y) == pytest.approx(squared(x) - squared(np.zeros_like(x)), rel=1e-4)


def test_no_rows_and_no_cells() -> None:
    other = factors()
    assert solve(explicit(rows_of(), 0.1), other).shape == (0, K)
    assert (solve(explicit(rows_of(0, 0), 0.1), other) == 0).all()
    assert loss(explicit(rows_of(0, 0), 0.1), np.zeros((2, K), np.float32), other) == 0.0
