"""Means over users and their bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.train import bootstrap
from nextreel.train.bootstrap import UserMeans


def means(*columns: list[float]) -> UserMeans:
    total = np.array(columns, np.float64).T
    return UserMeans(total, np.ones(total.shape))


def test_ratios_by_hand() -> None:
    found = UserMeans(np.array([[1.0, 6.0], [2.0, 0.0]]), np.array([[1.0, 3.0], [1.0, 0.0]]))
    assert found.values().tolist() == [1.5, 2.0]
    assert found.of(np.array([False, True])).values().tolist() == [2.0, pytest.approx(np.nan, nan_ok=True)]


def test_nobody() -> None:
    found = UserMeans(np.zeros((0, 3)), np.zeros((0, 3)))
    assert np.isnan(found.values()).all()
    assert np.isnan(found.intervals(100, 1)).all()
    assert found.intervals(100, 1).shape == (2, 3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(0, 2**31 - 1))
def test_the_interval_contains_the_mean(values: list[float], seed: int) -> None:
    found = means(values, [7.0] * len(values))
    mean, low, high = found.values(), *found.intervals(200, seed)
    assert low[0] - 1e-9 <= mean[0] <= high[0] + 1e-9
    assert min(values) - 1e-9 <= low[0]
    assert high[0] <= max(values) + 1e-9
    assert (low[1], high[1]) == pytest.approx((7.0, 7.0))


def normal(n: int) -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(3.0, 2.0, n)


def test_as_wide_as_theory_has_it() -> None:
    values = normal(400)
    low, high = means(values.tolist()).intervals(4000, 1)[:, 0]
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


@pytest.mark.parametrize("units", [500, 10_000])
def test_groups_of_users_vary_as_users_do(monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    monkeypatch.setattr(bootstrap, "_UNITS", units)
    values = normal(20_011)
    weight = (1 + np.arange(len(values)) % 3).astype(np.float64)[:, None]
    low, high = UserMeans(values[:, None] * weight, weight).intervals(2000, 1)[:, 0]
    mean = np.average(values, weights=weight[:, 0])
    half = 1.96 * np.sqrt(np.sum((weight[:, 0] * (values - mean)) ** 2)) / weight.sum()
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.15 * half)


def test_the_seed_alone_decides() -> None:
    found = means(normal(50).tolist())
    np.testing.assert_array_equal(found.intervals(300, 1), found.intervals(300, 1))
    assert (found.intervals(300, 1) != found.intervals(300, 2)).any()


@pytest.mark.parametrize("draws", [1, 120, 10**6])
def test_however_many_draws_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch, draws: int) -> None:
    found = means(normal(50).tolist())
    whole = found.intervals(300, 1)
    monkeypatch.setattr(bootstrap, "_BLOCK_DRAWS", draws)
    np.testing.assert_allclose(found.intervals(300, 1), whole, rtol=1e-12)


def test_weight_that_few_users_have() -> None:
    found = UserMeans(np.array([[4.0], [0.0], [0.0]]), np.array([[2.0], [0.0], [0.0]]))
    assert found.intervals(200, 1)[:, 0].tolist() == [2.0, 2.0]


def test_coverage_of_the_interval() -> None:
    """Of many samples whose mean is known, about 95 % have it in their interval."""
    rng, inside = np.random.default_rng(3), 0
    for seed in range(200):
        low, high = means(rng.normal(0.0, 1.0, 60).tolist()).intervals(200, seed)[:, 0]
        inside += low <= 0 <= high
    assert 0.89 <= inside / 200 <= 0.99
