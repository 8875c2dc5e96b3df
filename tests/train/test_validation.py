"""What trials are judged by, and that what the last word is left to is not in it."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.train.test_splits import (
    SPARSE,
    USERS,
    assert_without_hindsight,
    contents,
    many,
    over_everyone,
    rows,
    settings,
    simulated,
    some_observed,
    table,
    with_simulated,
)

from nextreel.errors import ModelError
from nextreel.settings import Settings, TrainSettings
from nextreel.train.dataset import Dataset
from nextreel.train.splits import split
from nextreel.train.validation import Parts, parts


def how(kind: str = "random", relevant: float = 3.0, **other: Any) -> Settings:
    train = TrainSettings(test_fraction=0.25, relevant_rating=relevant)
    return settings(kind, **other).model_copy(update={"ratings": SPARSE, "train": train})


def in_parts(data: Dataset, given: Settings) -> Parts:
    return parts(data, USERS, simulated, given)


ALL = [how(), how("last", last_k=2), how("time", since=0.6), how("time", since="2026-01-30")]
NAMES = ["random", "last", "share", "date"]


@pytest.mark.parametrize("given", ALL, ids=NAMES)
def test_the_test_part_is_what_evaluation_holds_out(given: Settings) -> None:
    data = over_everyone(with_simulated(some_observed()))
    found, alone = in_parts(data, given).test, split(data, USERS, simulated, given)
    assert (contents(found.train), contents(found.test)) == (contents(alone.train), contents(alone.test))
    assert found.protocol == alone.protocol


@pytest.mark.parametrize("given", ALL, ids=NAMES)
def test_the_validation_part_is_held_out_of_the_rest(given: Settings) -> None:
    found = in_parts(over_everyone(with_simulated(some_observed())), given)
    validation, left = found.validation, found.test.train
    observed = [row for row in rows(left) if row[2] is not None]
    again = [row for part in (validation.train, validation.test) for row in rows(part) if row[2] is not None]
    assert sorted(again) == sorted(observed)
    assert not {row[:2] for row in again} & {row[:2] for row in rows(found.test.test)}
    assert len(validation.test) > 0
    assert_without_hindsight(validation, table(observed), with_simulated)


@pytest.mark.parametrize("given", ALL[2:], ids=NAMES[2:])
def test_trials_are_judged_by_the_newest_of_what_is_left(given: Settings) -> None:
    validation = in_parts(over_everyone(with_simulated(some_observed())), given).validation
    train, test = ([day for *_, day in rows(part) if day is not None] for part in (validation.train, validation.test))
    assert max(train) < min(test)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_date_holds_out_as_much_of_the_rest_as_of_the_whole(share: float) -> None:
    data = many(60, 40)
    date = np.sort(data.timestamp)[int(share * len(data))].astype("datetime64[D]")
    found = in_parts(data, how("time", since=str(date)))
    shares = [len(p.test) / (len(p.test) + len(p.train)) for p in (found.test, found.validation)]
    assert shares[0] == pytest.approx(1 - share, abs=0.02)
    assert shares[1] == pytest.approx(shares[0], abs=0.03)


def test_chance_draws_anew() -> None:
    given = how()
    found = in_parts(many(60, 40), given)
    assert 0.2 < len(found.validation.test) / len(found.test.train) < 0.3
    for seed in (0, 2**31 - 1):
        train = given.train.model_copy(update={"seed": seed})
        assert len(in_parts(many(60, 40), given.model_copy(update={"train": train})).validation.test) > 0


def test_where_nothing_but_simulated_ratings_is_there_they_are_what_judges() -> None:
    found = in_parts(over_everyone(with_simulated(table([]))), how())
    assert found.test.simulated
    assert found.validation.simulated


def of(n: int, n_users: int = 1) -> Dataset:
    return over_everyone(table([(user, title, title) for user in range(n_users) for title in range(n)]))


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        (of(0), how(), "of 0 ratings, a random 25%, are 0: there must be some to judge by in the end"),
        (of(2), how("last", last_k=2), "the last 2 of each user, are 0: there must be some to judge by in the end"),
        (of(4), how("last", last_k=2), "the last 2 of each user, are 0: there must be some to judge trials by"),
        (of(9), how("last", last_k=2, relevant=4.0), "must be train.relevant_rating = 4 or more"),
        (
            over_everyone(with_simulated(of_one := table([(1, 1, 1)]))),
            how("time", since="2026-01-01"),
            "all observed ratings are held out to judge by in the end",
        ),
    ],
    ids=["nothing", "too few", "too few are left", "none relevant", "none left"],
)
def test_what_cannot_be_judged_is_refused(data: Dataset, given: Settings, message: str) -> None:
    with pytest.raises(ModelError, match=message.replace("(", r"\(")):
        parts(data, pa.table({"user_id": pa.array([], pa.string())}), simulated, given)
