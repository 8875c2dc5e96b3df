"""Damped biases, worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest

from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset, dataset


def rated(rows: list[tuple[str, str, float]], user_ids: list[str] | None = None) -> Dataset:
    users, titles, ratings = (
        pa.array([r[i] for r in rows], t) for i, t in enumerate((pa.string(),) * 2 + (pa.float64(),))
    )
    columns = {"user_id": users, "content_id": titles, "rating": ratings, "source": ["observed"] * len(rows)}
    return dataset(pa.table(columns), user_ids or [], ["t1", "t2", "t3"])


#: The mean is 3; off it: 2, 0 and -2.
ROWS = [("u1", "t1", 5.0), ("u1", "t2", 3.0), ("u2", "t1", 1.0)]


def test_undamped() -> None:
    found = fit_biases(rated(ROWS), 0.0)
    assert found.mean == 3.0
    assert found.titles.tolist() == [0.0, 0.0, 0.0]  # (2 - 2) / 2; 0 / 1; no rating
    assert found.users.tolist() == [1.0, -2.0]  # (2 + 0) / 2; -2 / 1


def test_damped() -> None:
    found = fit_biases(rated([("u1", "t1", 5.0), ("u1", "t2", 4.5), ("u2", "t1", 2.5), ("u3", "t1", 2.0)]), 1.0)
    # The mean is 3.5; off it 1.5, 1, -1, -1.5.
    # t1: (1.5 - 1 - 1.5) / (1 + 3) = -0.25; t2: 1 / (1 + 1) = 0.5
    # u1: (1.75 + 0.5) / (1 + 2) = 0.75; u2: (-1 + 0.25) / (1 + 1) = -0.375; u3: (-1.5 + 0.25) / 2 = -0.625
    assert found.mean == 3.5
    assert found.titles.tolist() == [-0.25, 0.5, 0.0]
    assert found.users.tolist() == [0.75, -0.375, -0.625]
    assert found.users.dtype == found.titles.dtype == np.float32


def test_more_damping_draws_towards_the_mean() -> None:
    data = rated([*ROWS, ("u2", "t3", 1.0)])
    sizes = [np.abs(fit_biases(data, damping).users).sum() for damping in (0.0, 1.0, 10.0, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("damping", [0.0, 5.0])
def test_who_has_no_rating_has_no_bias(damping: float) -> None:
    found = fit_biases(rated(ROWS, user_ids=["u0", "u9"]), damping)
    assert found.users[[0, 3]].tolist() == [0.0, 0.0]
    assert found.titles[2] == 0.0


def test_no_ratings() -> None:
    found = fit_biases(rated([], user_ids=["u1"]), 5.0)
    assert (found.mean, found.users.tolist(), found.titles.tolist()) == (0.0, [0.0], [0.0, 0.0, 0.0])
