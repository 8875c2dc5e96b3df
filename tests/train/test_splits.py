"""What is held out, and that nothing of it reaches the training part."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from tests.ratings.traits import side

from nextreel.errors import ModelError
from nextreel.ratings.simulated import Simulator
from nextreel.ratings.sources import COLUMNS, LIKING
from nextreel.ratings.table import ratings, simulator
from nextreel.settings import EvaluationSettings, RatingsSettings, Settings, TrainSettings
from nextreel.train.dataset import Dataset, dataset
from nextreel.train.splits import Split, hold_out, split

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("content_id", pa.string()),
        ("rating", pa.float64()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("source", pa.string()),
    ]
)
#: A rating of user and title, so many days after the start; simulated where that is None.
Row = tuple[int, int, int | None]


def table(rows: list[Row]) -> pa.Table:
    found = [
        {
            "user_id": f"u{user}",
            "content_id": f"t{title}",
            "rating": 3.0,
            "timestamp": None if day is None else START + timedelta(days=day),
            "source": "simulated" if day is None else "observed",
        }
        for user, title, day in rows
    ]
    return pa.Table.from_pylist(found, SCHEMA)


def rows(data: Dataset) -> list[Row]:
    day = [None if t is None else (t.replace(tzinfo=UTC) - START).days for t in data.timestamp.tolist()]
    users, titles = ([int(name[1:]) for name in ids.to_pylist()] for ids in (data.user_ids, data.title_ids))
    return [(users[u], titles[t], d) for u, t, d in zip(data.user, data.title, day, strict=True)]


def settings(split: str = "random", **other: Any) -> Settings:
    evaluation = EvaluationSettings.model_validate({"split": split} | other)
    return Settings(evaluation=evaluation, train=TrainSettings(test_fraction=0.25))


def held_out(given: list[Row], split: str, **other: Any) -> list[Row]:
    return rows(hold_out(dataset(table(given)), settings(split, **other)).test)


def many(n_users: int, n_titles: int, simulated: float = 0.0) -> Dataset:
    rng = np.random.default_rng(1)
    drawn = rng.random((n_users, n_titles)) < simulated
    return dataset(
        table([(u, t, None if drawn[u, t] else (u + t) % 50) for u in range(n_users) for t in range(n_titles)])
    )


# By hand

BY_TIME: list[Row] = [(1, 5, 9), (1, 6, 2), (1, 7, 4), (1, 8, None), (2, 5, 3), (2, 6, 3), (2, 7, 3), (3, 5, 1)]


@pytest.mark.parametrize("split", ["random", "last", "time"])
def test_what_no_event_describes_is_not_held_out(split: str) -> None:
    whole = many(60, 40)
    found = hold_out(replace(whole, described=np.arange(40) % 4 > 0), settings(split))
    assert len(found.test) > 0
    assert np.all(found.test.title % 4 > 0)
    assert np.any(found.train.title % 4 == 0)


def test_what_is_rated_after_what_is_held_out_is_not_learned_from_though_no_event_describes_it() -> None:
    data = dataset(table(BY_TIME))
    described = np.array([title != data.title_ids[2].as_py() for title in data.title_ids.to_pylist()])
    found = hold_out(replace(data, described=described), settings("last", last_k=1))
    assert rows(found.test) == [(1, 5, 9), (2, 6, 3)]
    assert rows(found.train) == [(1, 6, 2), (1, 7, 4), (1, 8, None), (2, 5, 3), (3, 5, 1)]


def test_the_last_of_each_user_who_has_more() -> None:
    assert held_out(BY_TIME, "last", last_k=2) == [(1, 5, 9), (1, 7, 4), (2, 6, 3), (2, 7, 3)]
    assert held_out(BY_TIME, "last", last_k=1) == [(1, 5, 9), (2, 7, 3)]
    assert held_out(BY_TIME, "last", last_k=3) == []


def test_since_a_date() -> None:
    assert held_out(BY_TIME, "time", since=datetime(2026, 1, 5, tzinfo=UTC)) == [(1, 5, 9), (1, 7, 4)]
    east = START + timedelta(days=4, hours=2)
    assert held_out(BY_TIME, "time", since=east.replace(tzinfo=None).isoformat() + "+02:00") == [(1, 5, 9), (1, 7, 4)]
    assert held_out(BY_TIME, "time", since="2027-01-01") == []


def with_deeds(observed: list[Row], deeds: list[Row]) -> Dataset:
    """A dataset in which the second rows stand for what users did."""
    done = table(deeds)
    done = done.set_column(done.column_names.index("source"), "source", pa.array(["implicit"] * len(deeds)))
    return dataset(pa.concat_tables([table(observed), done]))


def test_what_users_did_after_what_is_held_out_is_left_out() -> None:
    data = with_deeds([(1, 1, 1), (1, 2, 5), (2, 1, 9)], [(1, 8, 4), (1, 9, 6), (2, 8, 8), (3, 9, 9)])
    found = hold_out(data, settings("last", last_k=1))
    assert rows(found.test) == [(1, 2, 5)]
    assert rows(found.train) == [(1, 1, 1), (1, 8, 4), (2, 1, 9), (2, 8, 8), (3, 9, 9)]
    split_by_time = hold_out(data, settings("time", since=datetime(2026, 1, 6, tzinfo=UTC)))
    assert rows(split_by_time.test) == [(1, 2, 5), (2, 1, 9)]
    assert rows(split_by_time.train) == [(1, 1, 1), (1, 8, 4)], "whoever did it"
    assert len(hold_out(data, settings("random")).train) >= 4, "a random part has no before and after"


def test_where_nobody_rates_deeds_are_held_out() -> None:
    data = with_deeds([], [(1, 8, 4), (1, 9, 6), (2, 8, 8), (3, 9, 9)])
    assert rows(hold_out(data, settings("last", last_k=1)).test) == [(1, 9, 6)]


def test_since_a_share() -> None:
    # Of seven, by time: day 1, 2, 3, 3, 3, 4, 9.
    assert held_out(BY_TIME, "time", since=0.8) == [(1, 5, 9), (1, 7, 4)]
    assert held_out(BY_TIME, "time", since=0.9) == [(1, 5, 9)]
    assert len(held_out(BY_TIME, "time", since=0.5)) == 5, "all of one time go together"


@pytest.mark.parametrize(
    ("kind", "protocol", "words"),
    [
        ("random", {"split": "random", "test_fraction": 0.25}, "a random 25%"),
        ("last", {"split": "last", "last_k": 5}, "the last 5 of each user"),
        ("time", {"split": "time", "since": "0.8"}, "all since 2026-01-05 00:00 UTC"),
    ],
)
def test_it_says_what_it_held_out(kind: str, protocol: dict[str, object], words: str) -> None:
    found = hold_out(dataset(table(BY_TIME)), settings(kind))
    assert (found.protocol, found.held_out) == (protocol, words)


@pytest.mark.parametrize("kind", ["random", "last", "time"])
def test_where_all_are_simulated_some_are_held_out_at_random(kind: str) -> None:
    found = hold_out(many(60, 40, simulated=1.0), settings(kind))
    assert found.protocol == {"split": "random", "test_fraction": 0.25}
    assert 0.2 < len(found.test) / 2400 < 0.3


@pytest.mark.parametrize("kind", ["random", "last", "time"])
def test_no_ratings(kind: str) -> None:
    found = hold_out(dataset(table([]), user_ids=["u1"]), settings(kind))
    assert (len(found.train), len(found.test)) == (0, 0)


@pytest.mark.parametrize("kind", ["random", "last", "time"])
def test_nothing_is_held_out_where_no_title_is_described(kind: str) -> None:
    data = replace(dataset(table(BY_TIME)), described=np.zeros(4, np.bool_))
    parts = hold_out(data, settings(kind))
    assert (len(parts.train), len(parts.test)) == (len(BY_TIME), 0)
    assert parts.protocol["split"] == kind
    since = hold_out(data, settings("time", since=START))
    assert (len(since.train), len(since.test)) == (len(BY_TIME), 0)


@pytest.mark.parametrize("kind", ["last", "time"])
def test_times_that_are_not_known(kind: str) -> None:
    with pytest.raises(ModelError, match=f"no time, and evaluation.split is '{kind}'; only 'random'"):
        hold_out(dataset(table(BY_TIME).drop_columns("timestamp")), settings(kind))


def test_random_share_and_seed() -> None:
    data = many(60, 40, simulated=0.5)
    found, again = (hold_out(data, settings()).test for _ in range(2))
    assert 0.2 < len(found) / np.count_nonzero(~data.simulated) < 0.3
    assert rows(found) == rows(again)
    other = Settings(train=TrainSettings(test_fraction=0.25, seed=8))
    assert rows(found) != rows(hold_out(data, other).test)


# Of any ratings

ratings_of_few = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 6)), st.none() | st.integers(0, 5), max_size=30
).map(lambda found: [(user, title, day) for (user, title), day in found.items()])
kinds = st.sampled_from(
    [
        settings("random"),
        *(settings("last", last_k=k) for k in (1, 3)),
        *(settings("time", since=q) for q in (0.3, 0.8)),
    ]
)


@given(ratings_of_few, kinds)
def test_every_rating_is_in_one_part(given: list[Row], how: Settings) -> None:
    found = hold_out(dataset(table(given)), how)
    train, test = rows(found.train), rows(found.test)
    assert Counter(train) + Counter(test) == Counter(given)
    assert not {r[:2] for r in train} & {r[:2] for r in test}
    assert found.train.user_ids == found.test.user_ids


@given(ratings_of_few, kinds)
def test_only_observed_ratings_are_held_out_where_there_are_any(given: list[Row], how: Settings) -> None:
    test = rows(hold_out(dataset(table(given)), how).test)
    assert all(day is None for *_, day in given) or all(day is not None for *_, day in test)


@given(ratings_of_few, st.integers(1, 4))
def test_nobody_learns_from_what_comes_after_their_last(given: list[Row], k: int) -> None:
    found = hold_out(dataset(table(given)), settings("last", last_k=k))
    observed = Counter(user for user, _, day in given if day is not None)
    if not observed:
        return
    taken = Counter(user for user, *_ in rows(found.test))
    assert taken == {user: k for user, n in observed.items() if n > k}
    for user in taken:
        first = min(day for u, _, day in rows(found.test) if u == user and day is not None)
        assert all(day <= first for u, _, day in rows(found.train) if u == user and day is not None)


@given(ratings_of_few, st.floats(0.01, 0.99))
def test_nobody_learns_from_the_future(given: list[Row], share: float) -> None:
    days = [day for *_, day in given if day is not None]
    if not days:
        return
    found = hold_out(dataset(table(given)), settings("time", since=share))
    train, test = ([day for *_, day in rows(part) if day is not None] for part in (found.train, found.test))
    assert test
    assert max(train, default=-1) < min(test)
    assert len(train) <= share * len(days)


# Simulated ratings


N_USERS, N_TITLES = 30, 25
USERS, TITLES = side("user_id", "u", N_USERS), side("content_id", "t", N_TITLES)
SPARSE = RatingsSettings(min_observed=4, per_user=8)


def simulated(users: pa.Table) -> pa.Table:
    """What `nextreel.ratings.table.simulator` returns, without Spark."""
    drawn = Simulator.of(TITLES, SPARSE).ratings(users.combine_chunks().to_batches()[0])
    n = drawn.num_rows
    found = pa.Table.from_batches([drawn])
    found = found.append_column("timestamp", pa.nulls(n, pa.timestamp("us", tz="UTC")))
    return found.append_column("source", pa.array(["simulated"] * n))


def with_simulated(observed: pa.Table) -> pa.Table:
    """The ratings table by its definition, in plain Python: simulated ratings for whom has too few, of what is left."""
    counted = Counter(observed["user_id"].to_pylist())
    rated = {(r["user_id"], r["content_id"]) for r in observed.to_pylist()}
    sparse = USERS.filter(pa.array([counted[user] < SPARSE.min_observed for user in USERS["user_id"].to_pylist()]))
    drawn = [r for r in simulated(sparse).to_pylist() if (r["user_id"], r["content_id"]) not in rated]
    rows = pa.Table.from_pylist(drawn, SCHEMA.append(pa.field(LIKING, pa.float64())))
    return pa.concat_tables([observed, rows], promote_options="default")


def over_everyone(found: pa.Table) -> Dataset:
    return dataset(found, USERS["user_id"].to_pylist(), TITLES["content_id"].to_pylist())


def some_observed() -> pa.Table:
    """Nobody, few and many ratings by user: user u has rated u mod 9 titles."""
    rng = np.random.default_rng(4)
    return table(
        [
            (user, int(title), int(rng.integers(0, 50)))
            for user in range(N_USERS)
            for title in rng.choice(N_TITLES, user % 9, replace=False)
        ]
    )


def contents(data: Dataset) -> list[tuple[Any, ...]]:
    """All that a dataset says, in an order of its own."""
    columns = (data.user, data.title, data.rating, data.to_rank, data.simulated)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def assert_without_hindsight(found: Split, observed: pa.Table, make: Callable[[pa.Table], pa.Table]) -> None:
    """The training part is what ``make`` would have made of its own observed ratings."""
    held = set(zip(found.test.user.tolist(), found.test.title.tolist(), strict=True))
    whole = over_everyone(observed)
    left = [p not in held for p in zip(whole.user.tolist(), whole.title.tolist(), strict=True)]
    own = whole.where(np.array(left))
    again = pa.table(
        {
            "user_id": own.user_ids.take(pa.array(own.user)),
            "content_id": own.title_ids.take(pa.array(own.title)),
            "rating": pa.array(own.rating.astype(np.float64)),
            "timestamp": pc.cast(pa.array(own.timestamp), pa.timestamp("us", tz="UTC")),
            "source": pa.array(["observed"] * len(own)),
        }
    )
    assert contents(found.train) == contents(over_everyone(make(again)))


HOW = [settings("random"), settings("last", last_k=2), settings("time", since=0.6)]
SAME = [how.model_copy(update={"ratings": SPARSE}) for how in HOW]


@pytest.mark.parametrize("how", SAME, ids=["random", "last", "time"])
def test_the_training_part_is_as_if_the_rest_had_never_been_given(how: Settings) -> None:
    observed = some_observed()
    found = split(over_everyone(with_simulated(observed)), USERS, simulated, how)
    assert_without_hindsight(found, observed, with_simulated)
    plain = hold_out(over_everyone(with_simulated(observed)), how)
    assert contents(found.test) == contents(plain.test)
    assert np.count_nonzero(found.train.simulated) > np.count_nonzero(plain.train.simulated)
    both = set(zip(found.train.user, found.train.title, strict=True)) & set(
        zip(found.test.user, found.test.title, strict=True)
    )
    assert both, "titles that are held out are simulated as any other"


def test_where_nothing_is_simulated_nothing_is() -> None:
    def never(users: pa.Table) -> pa.Table:
        raise AssertionError(f"{users.num_rows} users' ratings were simulated")

    data = over_everyone(some_observed())
    how = settings().model_copy(update={"ratings": RatingsSettings(simulate="never")})
    assert not split(data, USERS, never, how).train.simulated.any()
    enough = settings().model_copy(update={"ratings": RatingsSettings(min_observed=1)})
    full = over_everyone(table([(u, t, t) for u in range(N_USERS) for t in range(N_TITLES)]))
    assert not split(full, USERS, never, enough).train.simulated.any()


def test_of_whom_no_profile_is_known_nothing_is_simulated() -> None:
    data = over_everyone(table([(7, 1, 1), (7, 2, 2), (7, 3, 3)]))
    how = settings("last", last_k=1).model_copy(update={"ratings": SPARSE})
    nobody = USERS.filter(pc.not_equal(USERS["user_id"], "u7"))
    assert rows(split(data, nobody, simulated, how).train) == [(7, 1, 1), (7, 2, 2)]


def test_as_spark_makes_the_ratings_table(spark: SparkSession) -> None:
    """Both paths to simulated ratings keep the same rule: the whole table's, and the split's."""

    def made(observed: pa.Table) -> pa.Table:
        columns = {
            "id": observed["content_id"],
            "timestamp": observed["timestamp"],
            "kafka_timestamp": observed["timestamp"],
            "id_usuario": observed["user_id"],
            "id_contenido": observed["content_id"],
            "evento": pa.array(["rate"] * observed.num_rows),
            "calificacion": observed["rating"],
        }
        frames = spark.createDataFrame(pa.table(columns)), spark.createDataFrame(USERS)
        with ratings(*frames, TITLES, SPARSE) as frame:
            return frame.toArrow()

    observed = some_observed()
    data = over_everyone(made(observed))
    assert contents(data) == contents(over_everyone(with_simulated(observed)))
    found = split(data, USERS, simulator(spark, TITLES, SPARSE), SAME[1])
    assert_without_hindsight(found, observed, made)


def test_the_simulator_on_spark(spark: SparkSession) -> None:
    found = simulator(spark, TITLES, SPARSE)(USERS)
    assert tuple(found.column_names) == (*COLUMNS, LIKING)
    by = [("user_id", "ascending"), ("content_id", "ascending")]
    assert found.sort_by(by).to_pylist() == simulated(USERS).sort_by(by).to_pylist()
    assert simulator(spark, TITLES.slice(0, 0), SPARSE)(USERS).num_rows == 0
