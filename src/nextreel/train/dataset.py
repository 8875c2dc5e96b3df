"""Ratings as training sees them: rows of integers instead of ids."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.model.arrays import Mask
from nextreel.model.rank import Pairs
from nextreel.model.snapshot import NO_TIME, History
from nextreel.model.traits import Traits, aligned, without_traits
from nextreel.ratings.sources import LIKING, SOURCES

#: The time of a rating that has none.
_UNKNOWN = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Dataset:
    """n ratings; ids are ascending, and a user or title may have none.

    ``user`` and ``title`` (n,) are rows of the ids; ``rating`` (n,) is in stars; ``source`` (n,) says where it comes
    from, as a place in `SOURCES`; ``timestamp`` (n,), datetime64[us] in UTC, is when a rating was given, NaT where that
    is not known. ``liking`` (n,) is what ranking learns from in place of the rating, None where it is the rating.
    ``described`` (n_titles,) says of which titles a movie or series event has come, None where of all.
    """

    user_ids: pa.StringArray
    title_ids: pa.StringArray
    user: NDArray[np.int32]
    title: NDArray[np.int32]
    rating: NDArray[np.float32]
    source: NDArray[np.int8]
    timestamp: NDArray[np.datetime64]
    liking: NDArray[np.float32] | None = None
    described: Mask | None = None

    @property
    def n_users(self) -> int:
        """Users, with or without ratings."""
        return len(self.user_ids)

    @property
    def n_titles(self) -> int:
        """Titles, with or without ratings."""
        return len(self.title_ids)

    def __len__(self) -> int:
        return len(self.rating)

    @property
    def observed(self) -> Mask:
        """Which ratings somebody gave, (n,)."""
        return self._of("observed")

    @property
    def implicit(self) -> Mask:
        """Which ratings stand for what somebody did, (n,)."""
        return self._of("implicit")

    @property
    def simulated(self) -> Mask:
        """Which ratings preferences let expect, (n,)."""
        return self._of("simulated")

    @property
    def to_rank(self) -> NDArray[np.float32]:
        """What ranking learns from, (n,), on the scale of stars: of simulated ratings, how well the title fits."""
        return self.rating if self.liking is None else self.liking

    @property
    def evidence(self) -> Mask:
        """Which ratings a model can be judged by, (n,): the first kind that there are any of, of offered titles."""
        offered = self.offered[self.title]
        kinds = (self.observed & offered, self.implicit & offered, self.simulated & offered)
        return next((kind for kind in kinds if kind.any()), kinds[0])

    @property
    def offered(self) -> Mask:
        """Which titles can be recommended, (n_titles,): those that a movie or series event describes."""
        return np.ones(self.n_titles, np.bool_) if self.described is None else self.described

    def _of(self, source: str) -> Mask:
        found: Mask = self.source == SOURCES.index(source)
        return found

    def stars(self) -> "Dataset":
        """Return the ratings that predicted ones are learned from: those that stand for a deed only where all do."""
        return self.alone.stars(self)

    @property
    def alone(self) -> "Alone":
        """Whether deeds, or guesses, are all that there is."""
        return Alone.of(np.bincount(self.source, minlength=len(SOURCES)))

    def where(self, kept: NDArray[np.bool_]) -> "Dataset":
        """Return the ratings that a mask (n,) keeps, over the same ids."""
        return replace(
            self,
            user=self.user[kept],
            title=self.title[kept],
            rating=self.rating[kept],
            source=self.source[kept],
            timestamp=self.timestamp[kept],
            liking=None if self.liking is None else self.liking[kept],
        )

    def plus(self, other: "Dataset") -> "Dataset":
        """Return these ratings and, after them, those of a dataset over the same ids."""
        same = self.liking is None and other.liking is None
        return replace(
            self,
            user=np.append(self.user, other.user),
            title=np.append(self.title, other.title),
            rating=np.append(self.rating, other.rating),
            source=np.append(self.source, other.source),
            timestamp=np.append(self.timestamp, other.timestamp),
            liking=None if same else np.append(self.to_rank, other.to_rank),
        )

    def among(self, ratings: pa.Table) -> "Dataset":
        """Return another ratings table, which names none but these users and titles, over the same ids."""
        return replace(_over(self.user_ids, self.title_ids, ratings), described=self.described)

    def pairs(self) -> Pairs:
        """Return the titles that each user has rated, watched or listed; simulated ratings are nobody's."""
        said = self.where(~self.simulated)
        return Pairs.of(said.user, said.title, self.n_users)

    def history(self) -> History:
        """Return what each user rated and did; simulated ratings are nobody's."""
        said = self.where(~self.simulated)
        order = np.lexsort((said.title, said.user))
        start = np.zeros(self.n_users + 1, np.int64)
        np.cumsum(np.bincount(said.user, minlength=self.n_users), out=start[1:])
        times = np.where(np.isnat(said.timestamp), NO_TIME, said.timestamp.astype("datetime64[us]").astype(np.int64))
        return History(start, said.title[order], said.rating[order], said.observed[order], times[order])

    def pairs_of(self, user_ids: pa.StringArray, title_ids: pa.StringArray) -> Pairs:
        """Return the same by the rows of other ids; users and titles that those do not have are left out."""
        said = self.where(~self.simulated)
        users = pc.fill_null(pc.index_in(self.user_ids, user_ids), -1).to_numpy()[said.user]
        titles = pc.fill_null(pc.index_in(self.title_ids, title_ids), -1).to_numpy()[said.title]
        known = (users >= 0) & (titles >= 0)
        return Pairs.of(users[known], titles[known], len(user_ids))


@dataclass(frozen=True)
class Alone:
    """Whether all ratings that there are stand for ``deeds``, or are ``guesses`` (simulated).

    Deeds count as stars, and guesses as what users said, only where there is nothing else.
    """

    deeds: bool
    guesses: bool

    @classmethod
    def of(cls, per_source: NDArray[np.integer]) -> "Alone":
        """Return what is so where there are so many ratings of each source, in the order of `SOURCES`."""
        alone = per_source == per_source.sum()
        return cls(*(bool(alone[SOURCES.index(source)]) for source in ("implicit", "simulated")))

    def stars(self, data: Dataset) -> Dataset:
        """Return what ratings are predicted from, of a dataset that may have some users' ratings only."""
        return data if self.deeds else data.where(~data.implicit)

    def said(self, data: Dataset) -> Dataset:
        """Return what users said and did, of a dataset that may have some users' ratings only."""
        return data if self.guesses else data.where(~data.simulated)


@dataclass(frozen=True)
class Profiles:
    """The traits of a dataset's users (those that they prefer) and titles, row by row."""

    users: Traits
    titles: Traits

    @classmethod
    def of(cls, data: Dataset, users: pa.Table, titles: pa.Table) -> "Profiles":
        """Return them from tables that have each user_id, and each content_id, at most once."""
        return cls(aligned(users, "user_id", data.user_ids), aligned(titles, "content_id", data.title_ids))

    @classmethod
    def unknown(cls, n_users: int, n_titles: int) -> "Profiles":
        """Return those of users and titles of whom nothing is known."""
        return cls(without_traits(n_users), without_traits(n_titles))


def dataset(ratings: pa.Table, user_ids: Iterable[str] = (), title_ids: Iterable[str] = ()) -> Dataset:
    """Return the ratings table (user_id, content_id, rating, source) as a dataset, in a reproducible order.

    ``user_ids`` and ``title_ids`` are those known beside the ones that the ratings name. A table without a column
    timestamp says of no rating when it was given. Where there is a column liking, ranking learns from what is in it.
    """
    return _over(ascending(ratings["user_id"], user_ids), ascending(ratings["content_id"], title_ids), ratings)


def _over(user_ids: pa.StringArray, title_ids: pa.StringArray, ratings: pa.Table) -> Dataset:
    user = pc.index_in(ratings["user_id"], user_ids).to_numpy().astype(np.int32)
    title = pc.index_in(ratings["content_id"], title_ids).to_numpy().astype(np.int32)
    order = np.lexsort((title, user))
    return Dataset(
        user_ids,
        title_ids,
        user[order],
        title[order],
        ratings["rating"].to_numpy().astype(np.float32)[order],
        pc.index_in(ratings["source"].cast(pa.string()), pa.array(SOURCES)).to_numpy().astype(np.int8)[order],
        _timestamps(ratings)[order],
        _liking(ratings, order),
    )


def _liking(ratings: pa.Table, order: NDArray[np.int64]) -> NDArray[np.float32] | None:
    if LIKING not in ratings.column_names:
        return None
    values = pc.coalesce(ratings[LIKING], ratings["rating"].cast(ratings[LIKING].type))
    return np.asarray(values.to_numpy(), np.float32)[order]


def _timestamps(ratings: pa.Table) -> NDArray[np.datetime64]:
    if "timestamp" not in ratings.column_names:
        return np.full(ratings.num_rows, _UNKNOWN)
    found: NDArray[np.datetime64] = pc.cast(ratings["timestamp"], pa.timestamp("us")).to_numpy()
    return found


def ascending(rated: pa.ChunkedArray, known: Iterable[str]) -> pa.StringArray:
    """Return the ids that are in ratings or known beside them, each once."""
    everyone = pa.concat_arrays([*(c.cast(pa.string()) for c in rated.chunks), pa.array(list(known), pa.string())])
    unique = pc.unique(everyone)
    return unique.take(pc.sort_indices(unique))
