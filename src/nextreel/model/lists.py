"""Everyone's recommendations as one table, in the order of users, then ranks."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.model.model import Model
from nextreel.model.rank import Pairs
from nextreel.model.recommend import Recommendations, Recommender

#: The columns of a table of recommendations: ``rank`` counts from 1.
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("username", pa.string()),
        ("rank", pa.int32()),
        ("content_id", pa.string()),
        ("title", pa.string()),
        ("type", pa.string()),
        ("genres", pa.list_(pa.string())),
        ("predicted_rating", pa.float32()),
    ]
)


def recommendations_table(
    model: Model, seen: Pairs, users: pa.Table, titles: pa.Table, k: int, diversity: float = 0.0
) -> pa.Table:
    """Return everyone's recommendations in one table: see `recommendations`."""
    return pa.concat_tables(recommendations(model, seen, users, titles, k, diversity))


def recommendations(
    model: Model,
    seen: Pairs,
    users: pa.Table,
    titles: pa.Table,
    k: int,
    diversity: float = 0.0,
    block_users: int = 50_000,
    threads: int | None = None,
) -> Iterator[pa.Table]:
    """Yield the ``k`` best titles of every user of the model, ordered by user, then rank, a block of users at a time.

    ``users`` names them (user_id, username), ``titles`` is the catalogue (content_id, title, type, genres); titles
    that the catalogue does not have are not recommended. ``diversity`` is that of `Recommender`. The columns are those
    of `SCHEMA`.
    """
    titles, usernames = titles.combine_chunks(), users["username"].combine_chunks()
    entry = pc.index_in(model.title_ids, titles["content_id"].combine_chunks())
    profile = pc.index_in(model.user_ids, users["user_id"].combine_chunks())
    recommender = Recommender(model, pc.is_valid(entry).to_numpy(zero_copy_only=False), diversity)
    for begin in range(0, max(1, len(model.user_ids)), block_users):
        rows = np.arange(begin, min(begin + block_users, len(model.user_ids)))
        found = recommender.recommend(rows, k, seen, threads)
        place, rank, title = _long(found)
        user = pa.array(rows[place])
        catalogue = titles.take(entry.take(pa.array(title)))
        columns = [
            model.user_ids.take(user),
            usernames.take(profile.take(user)),
            pa.array(rank, pa.int32()),
            model.title_ids.take(pa.array(title)),
            *(catalogue[name] for name in ("title", "type", "genres")),
            pa.array(found.ratings[found.titles >= 0], pa.float32()),
        ]
        yield pa.table(columns, SCHEMA)


def _long(found: Recommendations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lists as columns: the user's place, rank from 1, title row."""
    user, place = np.nonzero(found.titles >= 0)
    return user, place + 1, found.titles[user, place]
