"""MovieLens data sets as events of the contract: a real world to replay.

Every rating is an interaction at its original time. User 1 becomes ``u1``, movie 31 ``m31`` and the rating of
the one by the other ``r1-31``, so that users and titles cannot be confused on the wire. What users prefer,
which MovieLens does not say, is taken from their ratings.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.events.contract import EventType, Verb, event_schema
from nextreel.events.movielens_layouts import Ratings, Title
from nextreel.events.movielens_layouts import read as read_layout

MAX_GENRES, MAX_DECADES = 5, 3

#: Ratings at the user's own mean that every preference starts with: one good film is not yet a taste.
DAMPING = 5.0

_DAY = 86_400
_ROWS_A_BATCH = 1 << 18
_ROWS_A_BLOCK = 1 << 20

#: "(1995)", "(2007-)", "(1975-1979)" at the end; 100K marks videos and television films after it.
_YEAR = re.compile(
    r"\s*\(\s*((?:18|19|20)\d\d)\s*(?:[-\u2013\u2014]\s*(?:\d{4})?\s*)?\)\s*(?:\((?:V|TV)\)\s*)?$", re.ASCII
)
#: "Matrix, The": an article before a parenthesis or the end, moved there from the start of its own level of
#: parentheses (which may hold complete ones: "Human Centipede II (Full Sequence), The").
_ARTICLE = re.compile(
    r"(^|\()((?:a\.k\.a\.|aka) )?((?:[^()]|\([^()]*\))+?), "
    r"(The|An?|L[ae]s?|L['\u2019]|Los?|Il|Gli|Els?|I|Os?|As|Un[aeo]?|Da|D[ae]s|Die|Der|D[ae]n|De|Det|Eine?|En|Ett?|Het)"
    r"(?=\s*(?:[()]|$))"
)


@dataclass(frozen=True)
class MovieLens:
    """A data set as tables of events, each in the contract's schema of its type and in event-time order.

    ``interactions`` are sorted by time, user and movie; ``users`` and ``movies`` by time and id (ids compare
    as numbers). Every title precedes the data set's first rating by a day, every user their own by a second.
    """

    users: pa.Table
    movies: pa.Table
    interactions: pa.Table

    def events(self, event_type: EventType) -> pa.Table:
        """Return the events of one type; there are none of series."""
        tables = {"user": self.users, "movie": self.movies, "interaction": self.interactions}
        return tables[event_type] if event_type in tables else event_schema(event_type).empty_table()


def read(directory: Path) -> MovieLens:
    """Read a MovieLens data set, in any of its three published layouts, from ``directory``.

    Ratings outside the contract's scale and ratings of titles that the movies file lacks are still events.
    Memory: about 95 bytes a rating. Raises InputError where the directory or a file is not as published.
    """
    titles, ratings, age_groups = read_layout(directory)
    start = int(ratings.seconds.min()) - _DAY
    names = [split_title(title.title) for title in titles]
    decades = {title.movie_id: (decade,) for title, (_, decade) in zip(titles, names, strict=True) if decade}
    genres = {title.movie_id: title.genres for title in titles}
    rated = ratings.movie_ids.tolist()
    return MovieLens(
        users=_users(
            ratings,
            age_groups,
            start,
            favourites(ratings, [genres.get(movie, ()) for movie in rated], MAX_GENRES),
            favourites(ratings, [decades.get(movie, ()) for movie in rated], MAX_DECADES),
        ),
        movies=_movies(titles, names, start),
        interactions=pa.Table.from_batches(_interactions(ratings), event_schema("interaction")),
    )


def split_title(published: str) -> tuple[str, str | None]:
    """Return title and decade: "Haine, La (Hate) (1995)" is ("La Haine (Hate)", "1990s")."""
    year = _YEAR.search(published)
    title = published[: year.start()] if year else published
    title = _ARTICLE.sub(_article_first, title.strip()) or published.strip()
    return title, f"{year[1][:3]}0s" if year else None


def _article_first(match: re.Match[str]) -> str:
    opening, alias, body, article = match.groups(default="")
    joint = "" if article.endswith(("'", "\u2019")) else " "
    return f"{opening}{alias}{article}{joint}{body}"


def favourites(ratings: Ratings, labels: Sequence[Sequence[str]], limit: int) -> pa.ListArray:
    """Return up to ``limit`` labels that each user likes best, best first: lists of strings (n_users,).

    ``labels`` (n_movies,) are each rated title's. A label's lift is the sum of (rating - the user's mean)
    over the user's ratings of titles with it, divided by (their number + DAMPING). Labels with positive lift
    count; who has none of those gets the most rated labels; who rated no title with a label gets null. Ties
    go to the label with more ratings, then by alphabet.
    """
    names = sorted({name for own in labels for name in own})
    if not names:
        return pa.nulls(len(ratings.user_ids), pa.list_(pa.string()))
    lift, count = _lifts(ratings, np.array([[name in own for own in labels] for name in names]))
    liked = lift > 0
    indifferent = ~liked.any(axis=1, keepdims=True)
    eligible = np.where(indifferent, count > 0, liked)
    ranking = np.lexsort((-count, np.where(indifferent, 0.0, -lift), ~eligible), axis=-1)[:, :limit]
    lengths = np.minimum(eligible.sum(axis=1), limit)
    chosen = ranking[np.arange(ranking.shape[1]) < lengths[:, None]]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(names).take(pa.array(chosen)), mask=pa.array(lengths == 0))


def _lifts(ratings: Ratings, member: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return lift and number of ratings, both (n_users, n_labels).

    ``member`` (n_labels, n_movies) says which titles have a label.
    """
    n_users = len(ratings.user_ids)
    mean = np.bincount(ratings.users, ratings.values) / np.bincount(ratings.users)
    excess = np.zeros((len(member), n_users))
    count = np.zeros((len(member), n_users), np.int64)
    for start in range(0, len(ratings.users), _ROWS_A_BLOCK):
        block = slice(start, start + _ROWS_A_BLOCK)
        users, movies = ratings.users[block], ratings.movies[block]
        residual = ratings.values[block] - mean[users]
        for label, has_label in enumerate(member):
            rows = np.flatnonzero(has_label[movies])
            excess[label] += np.bincount(users[rows], residual[rows], minlength=n_users)
            count[label] += np.bincount(users[rows], minlength=n_users)
    # Rounded, so that what is zero or a tie on paper is not decided by the last bit of a sum.
    lift: NDArray[np.float64] = excess / (count + DAMPING)
    return lift.round(9).T, count.T


def _users(
    ratings: Ratings, age_groups: dict[int, str], start: int, genres: pa.ListArray, decades: pa.ListArray
) -> pa.Table:
    """Return the user events; a user who is listed but rated nothing comes with the titles, at ``start``."""
    first = np.full(len(ratings.user_ids), np.iinfo(np.int64).max)
    np.minimum.at(first, ratings.users, ratings.seconds)
    ids = np.union1d(ratings.user_ids, np.array(list(age_groups), np.int32))
    place = np.searchsorted(ratings.user_ids, ids)
    has_rated = np.isin(ids, ratings.user_ids)
    rated = pa.array(place, mask=~has_rated)
    seconds = np.full(len(ids), start)
    seconds[has_rated] = first - 1
    days = pa.array((first // _DAY).astype(np.int32)).cast(pa.date32()).cast(pa.string())
    columns = {
        "id": _ids("u", ids),
        "timestamp": _event_time(seconds),
        "nombre_usuario": _ids("user ", ids),
        "fecha_suscripcion": days.take(rated),
        "generos": genres.take(rated),
        "decadas_favoritas": decades.take(rated),
        "grupo_edad": pa.array([age_groups.get(user) for user in ids.tolist()], pa.string()),
    }
    return pa.Table.from_batches([_batch("user", columns)]).take(np.lexsort((ids, seconds)))


def _movies(titles: list[Title], names: list[tuple[str, str | None]], start: int) -> pa.Table:
    ids = np.array([title.movie_id for title in titles], np.int32)
    columns = {
        "id": _ids("m", ids),
        "timestamp": _event_time(np.full(len(ids), start)),
        "titulo": pa.array([name or None for name, _ in names], pa.string()),
        "generos": pa.array([title.genres or None for title in titles], pa.list_(pa.string())),
        "decada_lanzamiento": pa.array([decade for _, decade in names], pa.string()),
    }
    return pa.Table.from_batches([_batch("movie", columns)]).take(np.argsort(ids))


def _interactions(ratings: Ratings) -> Iterator[pa.RecordBatch]:
    """Yield the interactions in event-time order; columns that never change share one buffer."""
    order, repeats, suffixes = _event_order(ratings)
    user_ids, movie_ids = _ids("u", ratings.user_ids), _ids("m", ratings.movie_ids)
    raters, rated = _ids("r", ratings.user_ids), _ids("", ratings.movie_ids)
    n_shared = min(_ROWS_A_BATCH, len(order))
    shared = {
        "type": pa.repeat("interaction", n_shared),
        "evento": pa.repeat(Verb.RATE.value, n_shared),
        "porcentaje_visto": pa.nulls(n_shared, pa.float64()),
        "dispositivo": pa.nulls(n_shared, pa.string()),
    }
    for start in range(0, len(order), _ROWS_A_BATCH):
        rows = order[start : start + _ROWS_A_BATCH]
        users, movies = pa.array(ratings.users[rows]), pa.array(ratings.movies[rows])
        ids = pc.binary_join_element_wise(raters.take(users), rated.take(movies), "-")
        low, high = np.searchsorted(repeats, (start, start + len(rows)))
        if low < high:
            mask = np.zeros(len(rows), np.bool_)
            mask[repeats[low:high] - start] = True
            longer = pc.binary_join_element_wise(ids.filter(pa.array(mask)), suffixes[low:high], "-")
            ids = pc.replace_with_mask(ids, pa.array(mask), longer)
        columns = {name: column.slice(0, len(rows)) for name, column in shared.items()} | {
            "id": ids,
            "timestamp": _event_time(ratings.seconds[rows]),
            "id_usuario": user_ids.take(users),
            "id_contenido": movie_ids.take(movies),
            "calificacion": pa.array(ratings.values[rows]),
        }
        yield _batch("interaction", columns)


def _event_order(ratings: Ratings) -> tuple[NDArray[np.int64], NDArray[np.int64], pa.Array]:
    """Return the rows by time, user and movie (n_ratings,), and what tells repeated pairs apart.

    No published set has two ratings of a title by one user. Where there are, the first keeps its plain id;
    the positions of the later ones in the order, ascending (n_repeats,), come with suffixes (n_repeats,):
    their seconds and, from the second within one second on, a running number.
    """
    pair = ratings.users * np.int64(len(ratings.movie_ids)) + ratings.movies
    if np.all(pair[1:] > pair[:-1]):  # files in the CSV layout are sorted so
        return np.argsort(ratings.seconds, kind="stable"), np.empty(0, np.int64), pa.array([], pa.string())
    order = np.argsort(pair, kind="stable")
    order = order[np.argsort(ratings.seconds[order], kind="stable")]
    pair, seconds = pair[order], ratings.seconds[order]
    by_pair = np.argsort(pair, kind="stable")
    again = by_pair[1:][pair[by_pair[1:]] == pair[by_pair[:-1]]]
    is_new = np.ones(len(again), np.bool_)
    is_new[1:] = (pair[again[1:]] != pair[again[:-1]]) | (seconds[again[1:]] != seconds[again[:-1]])
    place = np.arange(len(again))
    number = place - np.maximum.accumulate(np.where(is_new, place, 0)) + 1
    tails = pc.if_else(pa.array(is_new), "", _ids("-", number))
    suffixes = pc.binary_join_element_wise(_ids("", seconds[again]), tails, "")
    by_position = np.argsort(again)
    return order, again[by_position], suffixes.take(pa.array(by_position))


def _ids(prefix: str, numbers: NDArray[np.integer]) -> pa.StringArray:
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def _event_time(seconds: NDArray[np.int64]) -> pa.TimestampArray:
    return pa.array(seconds * 1_000_000).view(pa.timestamp("us", tz="UTC"))


def _batch(event_type: EventType, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """Return events with ``columns``, equally long, and null in the type's other fields."""
    n_rows = len(columns["id"])
    columns = {"type": pa.repeat(event_type, n_rows)} | columns
    schema = event_schema(event_type)
    arrays = [columns[f.name] if f.name in columns else pa.nulls(n_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
