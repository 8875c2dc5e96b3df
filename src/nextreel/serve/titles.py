"""Titles as they are now: the model's, those that came after it, and what requests choose them by."""

import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.events.contract import MATURITY
from nextreel.model.arrays import Ints, Mask
from nextreel.model.estimate import Estimate
from nextreel.model.model import Model
from nextreel.model.rank import Catalogue
from nextreel.model.snapshot import NO_TIME
from nextreel.model.traits import Traits
from nextreel.ratings.affinity import flat
from nextreel.serve.grown import Grown
from nextreel.serve.ids import Ids
from nextreel.serve.ranked import Ranked

#: When an event happened, and what decides between two of the same moment: Kafka's time, partition and offset.
Moment = tuple[int, int, int, int]

#: Choices that are remembered, and the rows at the most that their own catalogues hold, 256 bytes of 64 factors each.
_REMEMBERED, _REMEMBERED_ROWS = 256, 1_000_000
#: A choice of fewer than this share of all titles has a catalogue of its own: scanning all for a few takes long.
_FEW = 0.2


_LISTS = ("genres", "directors", "actors", "decades")


@dataclass(frozen=True)
class Card:
    """What there is to tell of a title; what is not known is None."""

    content_id: str
    type: str | None = None
    title: str | None = None
    genres: list[str] | None = None
    directors: list[str] | None = None
    actors: list[str] | None = None
    decades: list[str] | None = None
    age_rating: str | None = None
    seasons: str | None = None
    episodes: str | None = None

    def traits(self) -> Traits:
        """Return the title's traits, one row."""
        strings = pa.list_(pa.string())
        lists = {
            name: pa.array([getattr(self, name)], strings) for name in ("genres", "directors", "actors", "decades")
        }
        return {**lists, "age_rating": pa.array([self.age_rating], pa.string())}

    def values(self) -> dict[str, list[str]]:
        """Return the same as plain values, by kind."""
        found = {name: [value for value in getattr(self, name) or () if value is not None] for name in _LISTS}
        return found | {"age_rating": [] if self.age_rating is None else [self.age_rating]}

    def marks(self) -> set[str]:
        """Return the names of the masks that the title is in."""
        found = {"offered"} | {f"genres {genre}" for genre in self.genres or ()}
        if self.type is not None:
            found.add(f"type {self.type}")
        level = MATURITY.get(self.age_rating or "")
        return found | {f"age {up_to}" for up_to in set(MATURITY.values()) if level is not None and level <= up_to}


_NAMES = tuple(Card.__dataclass_fields__)


@dataclass(frozen=True)
class Choice:
    """Which titles may be recommended: of a type, of any of some genres, at most as mature as an age rating."""

    type: str | None = None
    genres: frozenset[str] = frozenset()
    age_rating: str | None = None

    def all_of(self) -> list[set[str]]:
        """Return sets of masks; of each set a title must be in one."""
        found = [{"offered"}]
        if self.type is not None:
            found.append({f"type {self.type}"})
        if self.genres:
            found.append({f"genres {genre}" for genre in self.genres})
        if self.age_rating is not None:
            found.append({f"age {MATURITY[self.age_rating]}"})
        return found


@dataclass(frozen=True)
class Chosen:
    """A choice, looked up: a mask over all titles, and, where they are few, a catalogue of the model's among them.

    ``rows`` (n,) are that catalogue's titles, ascending.
    """

    mask: Mask
    catalogue: Catalogue | None = None
    rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


class Titles:
    """Rows of titles: those of the model first, in its order, then newcomers in the order in which they came."""

    def __init__(self, model: Model, table: pa.Table):
        self.ids = Ids(model.title_ids)
        self._model = model
        self._table = table.select([name for name in _NAMES if name in table.column_names])
        self._since: Ints = pc.fill_null(table["updated_at"].cast(pa.int64()), 0).to_numpy()
        self._changed: dict[int, tuple[Moment, Card]] = {}
        self._masks = {name: Grown(mask) for name, mask in _masks(table).items()}
        self._new = Estimate(*(values[:0] for values in vars(model.titles).values()))
        self._remembered: OrderedDict[Choice, Chosen] = OrderedDict()
        self._places = np.arange(len(self.ids))
        self._names = pa.array([plain(name or "") for name in table["title"].to_pylist()], pa.string())
        self._revisions: dict[int, int] = {}
        self._unranked = True
        self.rank()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_known(self) -> int:
        """How many titles the model has."""
        return self.ids.n_known

    @property
    def new(self) -> Estimate:
        """What is assumed of newcomers, in their order."""
        return self._new

    @property
    def places(self) -> Ints:
        """The order of titles among equals, (n,): the model's by row, then newcomers by id, whenever each came."""
        n = len(self)
        if len(self._places) < n:
            names = [self.ids.name(row).encode() for row in range(self.n_known, n)]
            self._places = np.arange(n)
            self._places[self.n_known + np.array(sorted(range(len(names)), key=names.__getitem__))] = np.arange(
                self.n_known, n
            )
        return self._places

    def card(self, row: int) -> Card:
        """Return what there is to tell of a title."""
        if row in self._changed:
            return self._changed[row][1]
        if row >= self.n_known:
            return Card(self.ids.name(row))
        return Card(**self._table.slice(row, 1).to_pylist()[0])

    def rank(self) -> None:
        """Order titles by when they came or last changed, the latest first, where any has changed."""
        if self._unranked:
            since = np.zeros(len(self))
            since[: self.n_known] = self._since
            for row, (moment, _) in self._changed.items():
                since[row] = moment[0]
            self.newest = Ranked(since, self.places)
            self._unranked = False

    def is_offered(self, row: int) -> bool:
        """Tell whether a title has come as a movie or a series, and not only as what somebody watched."""
        mask = self._masks["offered"].rows
        return bool(row < len(mask) and mask[row])

    def revision(self, row: int) -> int:
        """Return a number that changes with what there is to tell of a title."""
        return self._revisions.get(row, 0)

    def search(self, text: str) -> Ints:
        """Return the titles, (n,) rows, whose names have all words of a text, whatever their case and accents."""
        words = plain(text).split()
        if not words:
            return np.zeros(0, np.int64)
        found = pa.repeat(True, self.n_known)
        for word in words:
            found = pc.and_(found, pc.match_substring(self._names, word))
        mask = found.to_numpy(zero_copy_only=False).astype(bool)
        mask &= self._mask("offered")[: self.n_known]
        new = []
        for row, (_, card) in self._changed.items():
            fits = all(word in plain(card.title or "") for word in words)
            if row < self.n_known:
                mask[row] = fits
            elif fits:
                new.append(row)
        return np.concatenate([np.flatnonzero(mask), np.array(sorted(new), np.int64)])

    def change(self, values: dict[str, Any], moment: Moment) -> int | None:
        """Take a movie's or series' event; return the row where it is news, None where something newer was known."""
        row = self.ids.add(values["content_id"])
        if moment < self._known_since(row):
            return None
        before, card = self.card(row), Card(**values)
        self._changed[row] = moment, card
        marks = before.marks() if self.is_offered(row) else set()
        for name in marks - card.marks():
            self._masks[name][row] = False
        for name in card.marks() - marks:
            self._masks.setdefault(name, Grown(np.zeros(0, np.bool_)))[row] = True
        self._revisions[row] = self._revisions.get(row, 0) + 1
        self._remembered.clear()
        self._unranked = True
        return row

    def _known_since(self, row: int) -> Moment:
        if row in self._changed:
            return self._changed[row][0]
        if row >= self.n_known or not self.is_offered(row):
            return (NO_TIME, 0, 0, 0)
        return (int(self._since[row]), 0, 0, 0)

    def assume(self, new: Estimate) -> None:
        """Take what is assumed of newcomers, all of them."""
        self._new = new

    def of(self, rows: Ints) -> Estimate:
        """Return what is assumed of titles; of newcomers that nothing was said of yet, 0."""
        model, new, n = self._model.titles, self._new, self.n_known
        known = rows < n
        if known.all():
            return model.take(rows)
        parts = []
        for old, added in zip(vars(model).values(), vars(new).values(), strict=True):
            found = np.zeros((len(rows), *old.shape[1:]), np.float32)
            found[known] = old[rows[known]]
            there = ~known & (rows - n < len(added))
            found[there] = added[rows[there] - n]
            parts.append(found)
        return Estimate(*parts)

    def chosen(self, choice: Choice) -> Chosen:
        """Look a choice up."""
        found = self._remembered.get(choice)
        if found is None or len(found.mask) < len(self):
            found = self._remembered[choice] = self._look_up(choice)
            while len(self._remembered) > _REMEMBERED or (
                len(self._remembered) > 1 and self._held() > _REMEMBERED_ROWS
            ):
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(choice)
        return found

    def _held(self) -> int:
        return sum(len(c.rows) for c in self._remembered.values())

    def _look_up(self, choice: Choice) -> Chosen:
        mask = np.ones(len(self), np.bool_)
        for names in choice.all_of():
            mask &= np.logical_or.reduce([self._mask(name) for name in sorted(names)])
        rows = np.flatnonzero(mask[: self.n_known])
        if choice == Choice() or len(rows) > _FEW * self.n_known:
            return Chosen(mask)
        return Chosen(mask, Catalogue.of(self._model.ranking_factors.titles[rows]), rows)

    def _mask(self, name: str) -> Mask:
        mask = np.zeros(len(self), np.bool_)
        if name in self._masks:
            held = self._masks[name].rows
            mask[: len(held)] = held
        return mask


def _masks(table: pa.Table) -> dict[str, Mask]:
    """Return the masks that choices are made by, (n,), by name: `Card.marks` of each row."""
    n = table.num_rows
    offered: Mask = pc.is_valid(table["type"]).to_numpy(zero_copy_only=False).astype(bool)
    found = {"offered": offered}
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


def plain(text: str) -> str:
    """Return a text without case and accents, for comparing."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))
