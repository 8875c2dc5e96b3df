"""Ridge regression against the same written out in float64 numpy, row by row left out."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.model import ridge
from nextreel.model.arrays import Doubles, Floats
from nextreel.model.ridge import STRENGTHS, Linear, Ridge, dense, evenly
from nextreel.model.solve import Rows


def sparse(x: NDArray[np.floating]) -> Rows:
    row, column = np.nonzero(x)
    return Rows.of(row, column, x[row, column], len(x))


def drawn(n: int, n_columns: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return (rng.normal(1, 1, (n, n_columns)) * (rng.random((n, n_columns)) < 0.3)).astype(np.float32)


def written_out(x: Floats, y: Floats, w: Doubles, strength: float) -> Doubles:
    """The intercept, and below it the coefficients, from the normal equations with an unpenalised column of ones."""
    design = np.column_stack([np.ones(len(x)), x])
    shrink = strength * np.eye(design.shape[1])
    shrink[0, 0] = 0
    return np.linalg.solve(design.T @ (design * w[:, None]) + shrink, design.T @ (y * w[:, None])).astype(np.float64)


def left_out(x: Floats, y: Floats, w: Doubles, strength: float) -> Iterator[Doubles]:
    """What regressions without it say of each row."""
    for row in range(len(x)):
        others = np.arange(len(x)) != row
        found = written_out(x[others], y[others], w[others], strength)
        yield found[0] + x[row] @ found[1:]


@pytest.mark.parametrize("noise", [0.1, 1.0, 30.0])
def test_the_regression_and_its_strength_are_those_written_out(noise: float) -> None:
    rng = np.random.default_rng(1)
    x, w = drawn(60, 7), rng.uniform(0.2, 3.0, 60)
    y = (x @ rng.normal(size=(7, 3)) + noise * rng.normal(size=(60, 3)) + [5, 0, -2]).astype(np.float32)
    found = Ridge.of(sparse(x), w, 7).fit(y)
    w = w / w.mean()
    guesses = {s: np.array(list(left_out(x, y, w, s))) for s in STRENGTHS}
    errors = {s: float((w[:, None] * (guess - y) ** 2).sum()) for s, guess in guesses.items()}
    assert found.strength == min(errors, key=errors.__getitem__)
    np.testing.assert_allclose(found.left_out, guesses[found.strength], rtol=1e-4, atol=1e-4)
    expected = written_out(x, y, w, found.strength)
    np.testing.assert_allclose(found.linear.intercept, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.linear.coefficients, expected[1:], rtol=1e-4, atol=1e-5)


def test_what_columns_say_nothing_of_is_shrunk_the_most() -> None:
    rng = np.random.default_rng(0)
    found = Ridge.of(sparse(drawn(400, 20)), np.ones(400), 20).fit(rng.normal(size=(400, 30)).astype(np.float32))
    assert found.strength == STRENGTHS[-1]


def test_rows_are_mapped_in_blocks_and_those_without_cells_to_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "_BLOCK", 12)
    x = drawn(9, 4)
    x[[0, 5, 8]] = 0
    empty = ~x.any(axis=1)
    assert 3 <= empty.sum() < 9
    linear = Linear(np.array([1, 2], np.float32), np.arange(8, dtype=np.float32).reshape(4, 2))
    expected = x @ linear.coefficients + linear.intercept
    expected[empty] = 0
    np.testing.assert_allclose(linear(sparse(x)), expected, rtol=1e-6)
    assert linear(sparse(x[:0])).shape == (0, 2)


@given(st.integers(2, 30), st.integers(1, 6), st.integers(4, 100), st.integers(0, 50))
def test_the_equations_do_not_depend_on_blocks(n: int, n_columns: int, block: int, seed: int) -> None:
    x, w = drawn(n, n_columns, seed), np.random.default_rng(seed).uniform(0.1, 2, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ridge, "_BLOCK", block)
        found = Ridge.of(sparse(x), w, n_columns)
    w = w / w.mean()
    off = x - np.average(x, axis=0, weights=w)
    gram = (found.eigenvectors * found.eigenvalues) @ found.eigenvectors.T
    np.testing.assert_allclose(gram, off.T @ (off * w[:, None]), rtol=1e-6, atol=1e-6)


def test_rows_of_many_cells_are_multiplied_as_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = drawn(50, 12, 3), np.random.default_rng(4).uniform(0.2, 3.0, 50)
    expected = x.astype(np.float64).T @ (x * w[:, None])
    for most in (0, 3, 100):
        monkeypatch.setattr(ridge, "_MANY_CELLS", most)
        monkeypatch.setattr(ridge, "_BLOCK", 100)
        np.testing.assert_allclose(ridge._gram(sparse(x), w, 12), expected, rtol=1e-6)


def test_many_rows_are_judged_by_some() -> None:
    x = drawn(5_000, 3)
    y = x @ np.ones((3, 1), np.float32)
    fit = Ridge.of(sparse(x), np.ones(5_000), 3).fit(y)
    assert fit.left_out.shape == (2_000, 1)
    np.testing.assert_allclose(fit.left_out, y[evenly(5_000, 2_000)], atol=0.01)


def test_evenly_spaced_rows() -> None:
    assert evenly(3, 5).tolist() == [0, 1, 2]
    assert evenly(0, 5).tolist() == []
    assert evenly(9, 3).tolist() == [0, 4, 8]


def test_rows_as_a_matrix() -> None:
    x = drawn(6, 5)
    np.testing.assert_array_equal(dense(sparse(x), np.array([4, 0, 4]), 5), x[[4, 0, 4]])


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_what_a_row_is_mapped_to_depends_on_no_other_row(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rng = np.random.default_rng(3)
    x = drawn(200, 90, seed=4)
    x[[0, 7, 8, 199]] = 0
    linear = Linear(*(rng.normal(size=shape).astype(np.float32) for shape in (5, (90, 5))))
    alone = np.concatenate([linear(sparse(x[row : row + 1])) for row in range(200)])
    monkeypatch.setattr(ridge, "_BLOCK", block)
    together = linear(sparse(x))
    np.testing.assert_array_equal(together, alone)
    expected = np.where(x.any(axis=1, keepdims=True), x @ linear.coefficients + linear.intercept, 0)
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-4)
