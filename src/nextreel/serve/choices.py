"""What requests choose titles by: kind, genres, age rating.

Every value has a filter over the model's titles (`nextreel.model.rank.Filter`, a bit a title) and a mask over
newcomers, so that a choice is looked up by a few operations on words, and may change with every event.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.events.contract import MATURITY
from nextreel.model.arrays import Ints, Mask
from nextreel.model.rank import Catalogue, Filter
from nextreel.ratings.affinity import flat
from nextreel.serve.grown import Grown

#: The mark of titles that came as a movie or a series, and not only as what somebody watched.
OFFERED = "offered"


@dataclass(frozen=True)
class Choice:
    """Which titles may be recommended: of a type, of any of some genres, at most as mature as an age rating."""

    type: str | None = None
    genres: frozenset[str] = frozenset()
    age_rating: str | None = None

    def all_of(self) -> list[list[str]]:
        """Return lists of marks; of each list a title must have one."""
        found = [[OFFERED]]
        if self.type is not None:
            found.append([f"type {self.type}"])
        if self.genres:
            found.append([f"genres {genre}" for genre in sorted(self.genres)])
        if self.age_rating is not None:
            found.append([f"age {MATURITY[self.age_rating]}"])
        return found


def marks(kind: str | None, genres: list[str] | None, age_rating: str | None) -> set[str]:
    """Return the marks of a title that is offered."""
    found = {OFFERED} | {f"genres {genre}" for genre in genres or ()}
    if kind is not None:
        found.add(f"type {kind}")
    level = MATURITY.get(age_rating or "")
    return found | {f"age {up_to}" for up_to in set(MATURITY.values()) if level is not None and level <= up_to}


@dataclass(frozen=True)
class Chosen:
    """The titles of a choice: a filter over the model's, and a mask over newcomers, (n,) of those that there were."""

    catalogue: Catalogue
    known: Filter
    new: Mask

    def allows(self, titles: Ints) -> Mask:
        """Tell which titles (rows) are of the choice, (n,)."""
        n = self.catalogue.n_titles
        if (titles < n).all():
            return self.catalogue.allows(self.known, titles)
        found = np.zeros(len(titles), np.bool_)
        there = titles < n
        found[there] = self.catalogue.allows(self.known, titles[there])
        found[~there] = self.newcomers(int(titles.max()) + 1 - n)[titles[~there] - n]
        return found

    def newcomers(self, n: int) -> Mask:
        """Tell which of the first ``n`` newcomers are, (n,)."""
        found = np.zeros(n, np.bool_)
        found[: len(self.new)] = self.new[:n]
        return found

    def rows(self) -> Ints:
        """Return all titles of the choice, ascending."""
        known = np.flatnonzero(self.catalogue.mask(self.known))
        return np.concatenate([known, self.catalogue.n_titles + np.flatnonzero(self.new)])


class Choices:
    """The marks of titles, and the choices that they make."""

    def __init__(self, catalogue: Catalogue, table: pa.Table):
        """Take the model's titles, rows of ``table``: type, genres and age_rating of each, null where not offered."""
        self._catalogue = catalogue
        self._known = {name: catalogue.filter(mask) for name, mask in _masks(table).items()}
        self._new: dict[str, Grown[np.bool_]] = {}
        self._nothing = catalogue.filter(np.zeros(catalogue.n_titles, np.bool_))

    def has(self, row: int, mark: str) -> bool:
        """Tell whether a title has a mark."""
        place = row - self._catalogue.n_titles
        if place < 0:
            return bool(self._catalogue.allows(self._known.get(mark, self._nothing), np.array([row]))[0])
        new = self._new.get(mark)
        return new is not None and place < len(new) and bool(new.rows[place])

    def change(self, row: int, before: set[str], after: set[str]) -> None:
        """Take marks from a title, and give it others."""
        for mark in before ^ after:
            self._set(row, mark, mark in after)

    def _set(self, row: int, mark: str, value: bool) -> None:
        place = row - self._catalogue.n_titles
        if place >= 0:
            self._new.setdefault(mark, Grown(np.zeros(0, np.bool_)))[place] = value
            return
        if mark not in self._known:
            self._known[mark] = self._nothing.copy()
        self._catalogue.change(self._known[mark], row, value)

    def chosen(self, choice: Choice) -> Chosen:
        """Look a choice up. What it finds is to be used before anything changes."""
        known: Filter | None = None
        new: Mask | None = None
        for names in choice.all_of():
            some = self._known.get(names[0], self._nothing)
            for name in names[1:]:
                some = some | self._known.get(name, self._nothing)
            known = some if known is None else known & some
            if self._new:
                also = np.logical_or.reduce([self._newcomers(name) for name in names])
                new = also if new is None else new & also
        assert known is not None  # noqa: S101 (there is always what is offered)
        return Chosen(self._catalogue, known, np.zeros(0, np.bool_) if new is None else new)

    def _newcomers(self, mark: str) -> Mask:
        found = np.zeros(max(len(each) for each in self._new.values()), np.bool_)
        if mark in self._new:
            held = self._new[mark].rows
            found[: len(held)] = held
        return found


def _masks(table: pa.Table) -> dict[str, Mask]:
    """Return the titles of each mark, (n,), by name."""
    n = table.num_rows
    offered: Mask = pc.is_valid(table["type"]).to_numpy(zero_copy_only=False).astype(bool)
    found = {OFFERED: offered}
    for kind in pc.unique(table["type"].drop_null()).to_pylist():
        found[f"type {kind}"] = _filled(pc.equal(table["type"], kind))
    rows, genres = flat(table["genres"])
    codes = genres.dictionary_encode()
    code = codes.indices.to_numpy(zero_copy_only=False)
    for place, genre in enumerate(codes.dictionary.to_pylist()):
        mask = np.zeros(n, np.bool_)
        mask[rows[code == place]] = True
        found[f"genres {genre}"] = mask
    level = pc.fill_null(pc.index_in(table["age_rating"], pa.array(list(MATURITY))), len(MATURITY)).to_numpy()
    maturity = np.array([*MATURITY.values(), np.iinfo(np.int64).max])[level]
    for up_to in sorted(set(MATURITY.values())):
        found[f"age {up_to}"] = maturity <= up_to
    return found


def _filled(mask: pa.ChunkedArray) -> Mask:
    found: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False).astype(bool)
    return found
