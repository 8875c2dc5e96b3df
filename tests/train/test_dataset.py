"""The ratings table as rows of integers."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from nextreel.train.dataset import Dataset, dataset

SCHEMA = pa.schema(
    [("user_id", pa.string()), ("content_id", pa.string()), ("rating", pa.float64()), ("source", pa.string())]
)
ROWS = [
    ("u2", "t9", 4.0, "observed"),
    ("u10", "t1", 2.5, "simulated"),
    ("u2", "t1", 0.5, "observed"),
    ("u1", "t9", 5.0, "simulated"),
]


def table(rows: list[tuple[str, str, float, str]]) -> pa.Table:
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[]] * 4
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), SCHEMA)


def rows(data: Dataset) -> list[tuple[str, str, float, str]]:
    """A dataset as the rows that it came from."""
    return [
        (data.user_ids[u].as_py(), data.title_ids[t].as_py(), float(r), "simulated" if s else "observed")
        for u, t, r, s in zip(data.user, data.title, data.rating, data.simulated, strict=True)
    ]


def test_ids_ascend_and_rows_are_by_user_and_title() -> None:
    data = dataset(table(ROWS))
    assert data.user_ids.to_pylist() == ["u1", "u10", "u2"]
    assert data.title_ids.to_pylist() == ["t1", "t9"]
    assert rows(data) == [ROWS[3], ROWS[1], ROWS[2], ROWS[0]]
    assert [str(a.dtype) for a in (data.user, data.title, data.rating)] == ["int32", "int32", "float32"]
    assert (len(data), data.n_users, data.n_titles) == (4, 3, 2)


def test_independent_of_row_order_and_chunks() -> None:
    shuffled = pa.concat_tables([table(ROWS[2:]), table(ROWS[:2])])
    assert rows(dataset(shuffled)) == rows(dataset(table(ROWS)))


def test_ids_known_beside_the_rated_ones() -> None:
    data = dataset(table(ROWS), user_ids=["u3", "u1"], title_ids=["t0", "t9"])
    assert data.user_ids.to_pylist() == ["u1", "u10", "u2", "u3"]
    assert data.title_ids.to_pylist() == ["t0", "t1", "t9"]
    assert sorted(rows(data)) == sorted(ROWS)


def test_no_ratings() -> None:
    data = dataset(table([]), user_ids=["u1"])
    assert (len(data), data.n_users, data.n_titles) == (0, 1, 0)
    assert data.pairs().start.tolist() == [0, 0]


def test_where_keeps_ids() -> None:
    kept = dataset(table(ROWS)).where(np.array([False, True, False, True]))
    assert rows(kept) == [ROWS[1], ROWS[0]]
    assert kept.n_users == 3


def test_pairs_are_of_observed_ratings_only() -> None:
    pairs = dataset(table(ROWS)).pairs()
    assert pairs.start.tolist() == [0, 0, 0, 2]
    assert pairs.titles.tolist() == [0, 1]


def test_pairs_by_the_rows_of_other_ids() -> None:
    rated = [*ROWS, ("u1", "t5", 3.0, "observed"), ("u4", "t9", 3.0, "observed")]
    users, titles = pa.array(["u0", "u2", "u4"]), pa.array(["t3", "t5", "t9"])
    pairs = dataset(table(rated)).pairs_of(users, titles)
    assert pairs.start.tolist() == [0, 0, 1, 2]  # u2 and u4 rated t9; u2's t1 and all of u1 are unknown there
    assert pairs.titles.tolist() == [2, 2]


def timed(times: list[datetime | None], zone: str | None) -> Dataset:
    ratings = table([("u1", f"t{i}", 3.0, "observed") for i in range(len(times))])
    return dataset(ratings.append_column("timestamp", pa.array(times, pa.timestamp("us", tz=zone))))


@pytest.mark.parametrize("zone", ["UTC", "America/Lima"])
def test_times_are_utc(zone: str) -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=-5)))
    found = timed([noon, None], zone).timestamp
    assert found.dtype == np.dtype("datetime64[us]")
    assert found.tolist() == [datetime(2026, 1, 31, 17, tzinfo=UTC).replace(tzinfo=None), None]


def test_times_go_with_their_ratings() -> None:
    times: list[datetime | None] = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    kept = timed(times, "UTC").where(np.array([True, False, True]))
    assert [t.day for t in kept.timestamp.tolist()] == [3, 2]


def test_without_times_none_is_known() -> None:
    assert np.isnat(dataset(table(ROWS)).timestamp).all()


def test_more_ratings_of_the_same_users_and_titles() -> None:
    data = dataset(table(ROWS))
    more = data.among(table([("u10", "t9", 1.0, "simulated"), ("u1", "t1", 2.0, "observed")]))
    assert (more.user_ids, more.title_ids) == (data.user_ids, data.title_ids)
    both = data.plus(more)
    assert rows(both) == [*rows(data), ("u1", "t1", 2.0, "observed"), ("u10", "t9", 1.0, "simulated")]
    assert len(both) == len(both.timestamp) == 6
