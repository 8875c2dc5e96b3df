"""Titles as they are now: the model's, those that came after it, and what requests choose them by."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.model.arrays import Doubles, Floats, Ints, Mask
from nextreel.model.estimate import Estimate
from nextreel.model.model import Model
from nextreel.model.rank import Catalogue
from nextreel.model.snapshot import NO_TIME
from nextreel.serve.arrivals import Arrivals
from nextreel.serve.choices import NO_MARKS, Choice, Choices, Chosen, Marks, marks
from nextreel.serve.grown import Grown
from nextreel.serve.ids import Ids
from nextreel.serve.ranked import Ranked

#: When an event happened, and what decides between two of the same moment: Kafka's time, partition and offset.
Moment = tuple[int, int, int, int]

_LISTS = ("genres", "directors", "actors", "decades")
#: From so many new titles on, their order is taken from that of all of them, which is kept.
_MANY = 256


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

    def values(self) -> dict[str, list[str]]:
        """Return the values of each of the title's traits, without nulls."""
        found = {name: [value for value in getattr(self, name) or () if value is not None] for name in _LISTS}
        return found | {"age_rating": [] if self.age_rating is None else [self.age_rating]}

    def marks(self) -> Marks:
        """Return the marks that choices are made by."""
        return marks(self.type, self.genres, self.age_rating)


_NAMES = tuple(Card.__dataclass_fields__)


class Titles:
    """Rows of titles: those of the model first, in its order, then newcomers in the order in which they came."""

    def __init__(self, model: Model, table: pa.Table, catalogue: Catalogue):
        self.ids = Ids(model.title_ids)
        self._model = model
        self._table = table.select([name for name in _NAMES if name in table.column_names])
        since = pc.fill_null(table["updated_at"].cast(pa.int64()), 0).to_numpy()
        self._since: Grown[np.int64] = Grown(since)
        self._changed: dict[int, tuple[Moment, Card]] = {}
        #: Titles that events described after training.
        self.arrivals = Arrivals(self.ids.n_known, model.titles)
        self._choices = Choices(catalogue, table, self.arrivals)
        self._by_name: list[tuple[bytes, int]] = []
        self._places = np.arange(len(self.ids))
        self._names = _plain(pc.fill_null(table["title"], ""))
        self._revisions: dict[int, int] = {}
        self._unranked = False
        self.newest = Ranked(since.astype(np.float64), self._places)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_known(self) -> int:
        """How many titles the model has."""
        return self.ids.n_known

    @property
    def places(self) -> Ints:
        """The order of titles among equals, (n,): the model's by row, then described ones by id, whenever each came.

        Titles that nothing describes come last, in no order.
        """
        n, arrived = len(self), self.arrivals.rows
        if len(self._by_name) < len(arrived):
            self._by_name.extend((self._encoded(row), row) for row in arrived[len(self._by_name) :].tolist())
            self._by_name.sort()  # most of it is in order already
            self._places = self._places[:0]
        if len(self._places) < n:
            self._places = np.arange(n)
            self._places[self.n_known :] = n
            in_order = np.array([row for _, row in self._by_name], np.int64)
            self._places[in_order] = self.n_known + np.arange(len(in_order))
        return self._places

    def places_of(self, rows: Ints) -> Ints:
        """Return what orders some titles among equals, whether described or not, (m,): by row, new ones by id."""
        new = np.flatnonzero(rows >= self.n_known)
        if not len(new):
            return rows
        if len(new) > _MANY and (self.arrivals.slots(rows[new]) >= 0).all():
            return self.places[rows]
        names = [self._encoded(row) for row in rows[new].tolist()]
        places = rows.copy()
        places[new[sorted(range(len(names)), key=names.__getitem__)]] = self.n_known + np.arange(len(names))
        return places

    def _encoded(self, row: int) -> bytes:
        return self.ids.name(row).encode("utf-8", "surrogatepass")

    def card(self, row: int) -> Card:
        """Return what there is to tell of a title."""
        if row in self._changed:
            return self._changed[row][1]
        if row >= self.n_known:
            return Card(self.ids.name(row))
        return Card(**self._table.slice(row, 1).to_pylist()[0])

    def ranking(self) -> Callable[[], None]:
        """Return what orders titles by when they came or last changed, the latest first, where any has changed.

        It may be called while titles change, and takes them as they are now.
        """
        if not self._unranked:
            return lambda: None
        self._unranked = False
        return partial(self._rank, self._since.rows.astype(np.float64), self.places)

    def _rank(self, since: Doubles, places: Ints) -> None:
        self.newest = Ranked(since, places[: len(since)], self.newest)

    def is_offered(self, row: int) -> bool:
        """Tell whether a title has come as a movie or a series, and not only as what somebody watched."""
        return self._choices.is_offered(row)

    def is_new(self, row: int) -> bool:
        """Tell whether an event described a title that the model does not have."""
        return self.arrivals.slot(row) is not None

    def revision(self, row: int) -> int:
        """Return a number that changes with what there is to tell of a title."""
        return self._revisions.get(row, 0)

    def named(self, text: str) -> Ints:
        """Return the model's titles (rows) whose names there had all words of a text, whatever case and accents.

        It looks at all of the catalogue, and at nothing that changes.
        """
        words = _words(text)
        return _having(self._names, words) if words else np.zeros(0, np.int64)

    def search(self, text: str, found: Ints) -> Ints:
        """Return the titles, (n,) rows, that now have such names, of what was ``found`` so and of what has changed."""
        words = _words(text)
        if not words:
            return found
        changed = list(self._changed)
        names = pa.array([card.title or "" for _, card in self._changed.values()], pa.string())
        rows = np.array(changed, np.int64)
        found = np.setdiff1d(found[self.chosen(Choice()).allows(found)], rows, assume_unique=True)
        return np.sort(np.concatenate([found, rows[_having(_plain(names), words)]]))

    def change(self, values: dict[str, Any], moment: Moment) -> int | None:
        """Take a movie's or series' event; return the row where it is news, None where something newer was known."""
        row = self.ids.add(values["content_id"])
        if moment < self._known_since(row):
            return None
        before, card = self.card(row), Card(**values)
        self._changed[row] = moment, card
        self._choices.change(row, before.marks() if self.is_offered(row) else NO_MARKS, card.marks())
        self._revisions[row] = self._revisions.get(row, 0) + 1
        self._since[row] = moment[0]
        self._unranked = True
        return row

    def _known_since(self, row: int) -> Moment:
        if row in self._changed:
            return self._changed[row][0]
        if row >= self.n_known or not self.is_offered(row):
            return (NO_TIME, 0, 0, 0)
        return (int(self._since.rows[row]), 0, 0, 0)

    def estimate(self, rows: Ints, estimate: Estimate) -> None:
        """Replace the estimates of some described titles (m,), by m rows."""
        self.arrivals.estimate(self.arrivals.slots(rows), estimate)

    def have_estimates(self, rows: Ints) -> Mask:
        """Tell which titles have an estimate, (m,): the model's, and those described since once they are settled."""
        known = rows < self.n_known
        if not known.all():
            known[~known] = self.arrivals.estimated(self.arrivals.slots(rows[~known]))
        return known

    def of(self, rows: Ints) -> Estimate:
        """Return the estimates of titles; 0 of titles that have none."""
        model, known = self._model.titles, rows < self.n_known
        if known.all():
            return model.take(rows)
        new = np.flatnonzero(~known)
        slots = self.arrivals.slots(rows[new])
        new, slots = new[slots >= 0], slots[slots >= 0]
        parts = []
        for old, added in zip(vars(model).values(), vars(self.arrivals.estimates).values(), strict=True):
            part = np.zeros((len(rows), *old.shape[1:]), np.float32)
            part[known] = old[rows[known]]
            part[new] = added[slots]
            parts.append(part)
        return Estimate(*parts)

    def rating_of(self, rows: Ints) -> tuple[Floats, Floats]:
        """Return of the same what ratings are predicted from: factors (n, l) and biases (n,)."""
        if (rows < self.n_known).all():
            return self._model.rating_factors.titles[rows], self._model.biases.titles[rows]
        found = self.of(rows)
        return found.rating, found.bias

    def chosen(self, choice: Choice) -> Chosen:
        """Look a choice up. What it finds is to be used before anything changes."""
        return self._choices.chosen(choice)


def _words(text: str) -> list[str]:
    found: list[str] = _plain(pa.array([text]))[0].as_py().split()
    return found


def _having(names: pa.StringArray, words: list[str]) -> Ints:
    """Return which names have all words, (n,)."""
    found = pa.repeat(True, len(names))
    for word in words:
        found = pc.and_(found, pc.match_substring(names, word))
    return np.flatnonzero(found.to_numpy(zero_copy_only=False))


def _plain(texts: pa.Array) -> pa.StringArray:
    """Return texts without case and accents, for comparing."""
    found = pc.utf8_lower(pc.utf8_normalize(texts, "NFKD"))
    for pattern, plain in ((r"\p{M}", ""), ("ß", "ss"), ("\u03c2", "\u03c3")):
        found = pc.replace_substring_regex(found, pattern, plain)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
