"""What requests choose titles by: kind, genres, age rating.

Kinds and age ratings are few: each has a filter over the model's titles (`nextreel.model.rank.Filter`, a bit a title)
and a mask over titles described since. Genres can be as many as titles: `nextreel.serve.genres`. A choice is looked up
by a few operations on words, and may change with every event.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.events.contract import MATURITY
from nextreel.model.arrays import Ints, Mask
from nextreel.model.rank import Catalogue, Filter
from nextreel.serve.arrivals import Arrivals
from nextreel.serve.genres import Genres
from nextreel.serve.grown import Grown

Scalar = TypeVar("Scalar", np.uint64, np.bool_)

#: The mark of titles that came as a movie or a series, and not only as what somebody watched.
OFFERED = "offered"


@dataclass(frozen=True)
class Choice:
    """Which titles may be recommended: of a type, of any of some genres, at most as mature as an age rating."""

    type: str | None = None
    genres: frozenset[str] = frozenset()
    age_rating: str | None = None

    def marks(self) -> list[str]:
        """Return the marks that a title must have, besides one of the genres."""
        of_type = [] if self.type is None else [f"type {self.type}"]
        of_age = [] if self.age_rating is None else [f"age {MATURITY[self.age_rating]}"]
        return [OFFERED, *of_type, *of_age]


class Marks(NamedTuple):
    """What choices look at in a title: marks, of which there are few, and genres."""

    few: frozenset[str] = frozenset()
    genres: frozenset[str] = frozenset()


#: Those of a title that is not offered.
NO_MARKS = Marks()


def marks(kind: str | None, genres: list[str] | None, age_rating: str | None) -> Marks:
    """Return the marks of a title that is offered."""
    level = MATURITY.get(age_rating or "")
    ages = {f"age {up_to}" for up_to in set(MATURITY.values()) if level is not None and level <= up_to}
    kinds = set() if kind is None else {f"type {kind}"}
    return Marks(frozenset({OFFERED} | kinds | ages), frozenset(genre for genre in genres or () if genre is not None))


@dataclass(frozen=True)
class Chosen:
    """The titles of a choice: a filter over the model's, and a mask over slots of titles described since, (n,)."""

    catalogue: Catalogue
    known: Filter
    new: Mask
    arrivals: Arrivals

    def allows(self, titles: Ints) -> Mask:
        """Tell which titles (rows) are of the choice, (n,)."""
        n = self.catalogue.n_titles
        there = titles < n
        if there.all():
            return self.catalogue.allows(self.known, titles)
        allowed = np.zeros(len(titles), np.bool_)
        allowed[there] = self.catalogue.allows(self.known, titles[there])
        slots = self.arrivals.slots(titles[~there])
        inside = (slots >= 0) & (slots < len(self.new))
        of_new = np.zeros(len(slots), np.bool_)
        of_new[inside] = self.new[slots[inside]]
        allowed[~there] = of_new
        return allowed

    def rows(self) -> Ints:
        """Return all titles of the choice, ascending."""
        known = np.flatnonzero(self.catalogue.mask(self.known))
        return np.concatenate([known, np.sort(self.arrivals.rows[np.flatnonzero(self.new)])])


class Choices:
    """The marks of titles, and the choices that they make."""

    def __init__(self, catalogue: Catalogue, table: pa.Table, arrivals: Arrivals):
        """Take the model's titles, rows of ``table``: type, genres and age_rating of each, null where not offered.

        ``arrivals`` gets a slot for every other title that is given marks.
        """
        self._catalogue = catalogue
        self._arrivals = arrivals
        self._known = {name: catalogue.filter(mask) for name, mask in _masks(table).items()}
        self._new: dict[str, Grown[np.bool_]] = {}
        self._genres = Genres(catalogue, table["genres"])
        self._nothing = catalogue.filter(np.zeros(catalogue.n_titles, np.bool_))

    def is_offered(self, row: int) -> bool:
        """Tell whether a title came as a movie or a series."""
        if row >= self._catalogue.n_titles:
            slot = self._arrivals.slot(row)
            offered = self._new.get(OFFERED)
            return slot is not None and offered is not None and slot < len(offered) and bool(offered.rows[slot])
        return bool(self._catalogue.allows(self._known[OFFERED], np.array([row]))[0])

    def change(self, row: int, before: Marks, after: Marks) -> None:
        """Take marks from a title, and give it others."""
        if row < self._catalogue.n_titles:
            self._genres.change(row, before.genres, after.genres)
            for mark in before.few ^ after.few:
                if mark not in self._known:
                    self._known[mark] = self._nothing.copy()
                self._catalogue.change(self._known[mark], row, mark in after.few)
            return
        slot = self._arrivals.add(row)
        self._genres.change_new(slot, before.genres, after.genres)
        for mark in before.few ^ after.few:
            self._new.setdefault(mark, Grown.empty(np.bool_))[slot] = mark in after.few

    def chosen(self, choice: Choice) -> Chosen:
        """Look a choice up. What it finds is to be used before anything changes."""
        first, *others = choice.marks()
        known = self._known[first]
        for mark in others:
            known = known & self._known.get(mark, self._nothing)
        genres = sorted(choice.genres)
        if genres:
            known = known & _any([self._genres.known(genre) for genre in genres])
        n = len(self._arrivals)
        if not n:
            return Chosen(self._catalogue, known, np.zeros(0, np.bool_), self._arrivals)
        new = self._described(first, n)
        for mark in others:
            new &= self._described(mark, n)
        if genres:
            new &= _any([self._genres.new(genre, n) for genre in genres])
        return Chosen(self._catalogue, known, new, self._arrivals)

    def _described(self, mark: str, n: int) -> Mask:
        """Return which slots have a mark, (n,), as an array of its own."""
        has, held = np.zeros(n, np.bool_), self._new.get(mark)
        if held is not None:
            has[: len(held)] = held.rows
        return has


def _any(of: list[NDArray[Scalar]]) -> NDArray[Scalar]:
    """Return arrays of bits or booleans, one or more, joined by "or"."""
    joined = of[0]
    for each in of[1:]:
        joined = joined | each
    return joined


def _masks(table: pa.Table) -> dict[str, Mask]:
    """Return the titles of each mark, (n,), by name."""
    offered: Mask = pc.is_valid(table["type"]).to_numpy(zero_copy_only=False).astype(bool)
    found = {OFFERED: offered}
    for kind in pc.unique(table["type"].drop_null()).to_pylist():
        found[f"type {kind}"] = _filled(pc.equal(table["type"], kind))
    level = pc.fill_null(pc.index_in(table["age_rating"], pa.array(list(MATURITY))), len(MATURITY)).to_numpy()
    maturity = np.array([*MATURITY.values(), np.iinfo(np.int64).max])[level]
    for up_to in sorted(set(MATURITY.values())):
        found[f"age {up_to}"] = maturity <= up_to
    return found


def _filled(mask: pa.ChunkedArray) -> Mask:
    found: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False).astype(bool)
    return found
