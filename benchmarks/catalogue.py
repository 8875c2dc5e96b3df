"""Users and titles that benchmarks serve, as the tables a model version keeps: twenty genres, two types, five ages."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

GENRES = [f"Genre {n:02d}" for n in range(20)]
#: When everything of a model happened, in µs since 1970.
START = 1_767_225_600_000_000

AGES = ["G", "PG", "PG-13", "R", "NC-17"]
_STRINGS = pa.list_(pa.string())


def profiles(ids: pa.Array, favourites: NDArray[np.int64]) -> pa.Table:
    """Return users who like one genre each: ``favourites`` (n_users,) of `GENRES`."""
    n = len(ids)
    return pa.table(
        {
            "user_id": ids,
            "username": ids,
            "genres": _lists(np.arange(n + 1), favourites),
            **dict.fromkeys(("directors", "actors", "decades"), pa.nulls(n, _STRINGS)),
            "age_rating": pa.nulls(n, pa.string()),
            "updated_at": _times(n),
        }
    )


def cards(ids: pa.Array, start: NDArray[np.int64], genres: NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    """Return titles, three tenths of them series: the genres of title i are ``genres[start[i]:start[i + 1]]``."""
    n = len(ids)
    return pa.table(
        {
            "content_id": ids,
            "type": pa.array(["movie", "series"]).take(pa.array((rng.random(n) < 0.3).astype(int))),
            "title": [f"Title {number}" for number in range(n)],
            "genres": _lists(start, genres),
            **dict.fromkeys(("directors", "actors", "decades"), pa.nulls(n, _STRINGS)),
            "age_rating": pa.array(AGES).take(pa.array(rng.integers(0, len(AGES), n))),
            "updated_at": _times(n),
        }
    )


def _lists(start: NDArray[np.int64], genres: NDArray[np.int64]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(start, pa.int32()), pa.array(GENRES).take(pa.array(genres)))


def _times(n: int) -> pa.Array:
    return pa.array(np.full(n, START)).cast(pa.timestamp("us", tz="UTC"))
