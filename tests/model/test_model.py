"""The model: what fits together, and what it predicts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tests.model.models import make_model

from nextreel.errors import ModelError
from nextreel.model.model import Biases, Factors


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


#: Two users and three titles, so that a transposed input does not fit.
MODEL = make_model(
    user_ids=pa.array(["u1", "u2"]),
    title_ids=pa.array(["t1", "t2", "t3"]),
    biases=Biases(3.0, f32([0.5, -1.0]), f32([0.25, 0.0, -2.0])),
    rating_factors=Factors(f32([[1, 0.5], [0, -1]]), f32([[0.5, 0], [2, 2], [0, 0.25]])),
    ranking_factors=Factors(f32([[1, 2, 3], [0, 0, 0]]), f32([[1, 0, 0], [0, 1, 0], [0, 0, 1]])),
    popularity=f32([5, 0, 2]),
)


def test_known_predictions() -> None:
    users, titles = np.array([0, 1, 0, 1]), np.array([0, 0, 2, 2])
    # 3 + .5 + .25 + .5; 3 - 1 + .25 + 0; 3 + .5 - 2 + .125; 3 - 1 - 2 - .25, which is below the scale
    assert MODEL.predict(users, titles).tolist() == [4.25, 2.25, 1.625, 0.5]
    assert MODEL.predict(np.array([0]), np.array([1])).tolist() == [5.0]  # 3 + .5 + 0 + 3
    assert MODEL.predict(np.array([], np.int64), np.array([], np.int64)).tolist() == []


def test_biases_alone_are_not_clipped() -> None:
    assert MODEL.biases.predict(np.array([1, 0]), np.array([2, 1])).tolist() == [0.0, 3.5]


def test_predictions_stay_on_the_scale_whatever_the_factors() -> None:
    rng = np.random.default_rng(1)
    wild = replace(MODEL, rating_factors=Factors(f32(rng.normal(0, 9, (2, 4))), f32(rng.normal(0, 9, (3, 4)))))
    found = wild.predict(np.repeat([0, 1], 3), np.tile([0, 1, 2], 2))
    assert np.all((found >= 0.5) & (found <= 5.0))
    assert {0.5, 5.0} & set(found.tolist())


def test_known_users_are_those_with_ranking_factors() -> None:
    assert MODEL.known_users.tolist() == [True, False]


@pytest.mark.parametrize(
    ("users", "titles"), [((2, 3), (4, 2)), ((6,), (3, 2)), ((2, 2), (3, 2, 1))], ids=["width", "flat", "deep"]
)
def test_factors_that_do_not_fit_together(users: tuple[int, ...], titles: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"factors of shapes .* do not fit together"):
        Factors(np.zeros(users, np.float32), np.zeros(titles, np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"biases": Biases(3.0, f32([0, 0, 0]), f32([0, 0]))},
        {"rating_factors": Factors(f32(np.zeros((3, 2))), f32(np.zeros((2, 2))))},
        {"ranking_factors": Factors(f32(np.zeros((2, 2))), f32(np.zeros((4, 2))))},
        {"popularity": f32([1, 2])},
        {"title_ids": pa.array(["t1", "t2"])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parts_of_other_sizes_than_the_ids(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"of .* titles; the ids of"):
        replace(MODEL, **change)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["biases", "rating_factors", "ranking_factors"])
@pytest.mark.parametrize("side", ["users", "titles"])
def test_numbers_that_are_not_finite(part: str, side: str, value: float) -> None:
    sides: Biases | Factors = getattr(MODEL, part)
    damaged = getattr(sides, side).copy()
    damaged[-1, ...] = value
    with pytest.raises(ModelError, match=f"{part} are not finite"):
        replace(MODEL, **{part: replace(sides, **{side: damaged})})  # type: ignore[arg-type]
