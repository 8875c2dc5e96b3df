"""One model version and everything that happened since: what answers requests, and follows events.

Its state follows from the version and the set of events alone: not from their order, nor from how often each came. So a
server that was killed, and another beside it, come to the same answers.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest
from typing import Any
from zlib import crc32

import numpy as np

from nextreel.events.contract import RATING_MAX, RATING_MIN, EventType, Verb, fields_of
from nextreel.model.arrays import Floats, Ints
from nextreel.model.diversify import diversified
from nextreel.model.estimate import Estimate
from nextreel.model.foldin import FoldIn
from nextreel.model.model import Model
from nextreel.model.rank import Catalogue, Pairs
from nextreel.model.recommend import Strategy
from nextreel.model.snapshot import Snapshot
from nextreel.model.solve import Rows
from nextreel.serve.choices import Choice, Chosen
from nextreel.serve.people import Past, People, Person, Profile
from nextreel.serve.popular import Popular
from nextreel.serve.titles import Titles
from nextreel.settings import RatingsSettings, ServeSettings

#: Titles that a diverse list chooses from, for each that it has.
_CHOICE_OF = 5
#: So many users' ratings say what a newcomer among titles is like until the next training.
_MOST_RATERS = 200
#: Newcomers among titles that are settled at a time.
_SETTLED = 16
#: No titles.
_NONE: Ints = np.zeros(0, np.int64)

_TRAITS = {
    "generos": "genres",
    "directores": "directors",
    "actores": "actors",
    "clasificacion": "age_rating",
}
#: What the contract calls what profiles and cards hold.
_USER = {"id": "user_id", "nombre_usuario": "username", "decadas_favoritas": "decades"} | _TRAITS
_TITLE = {
    "id": "content_id",
    "type": "type",
    "titulo": "title",
    "numero_temporadas": "seasons",
    "numero_episodios": "episodes",
} | _TRAITS

_FIELDS = {kind: tuple(f.name for f in fields_of(kind)) for kind in ("user", "movie", "series", "interaction")}


@dataclass(frozen=True)
class Event:
    """One valid message: its type, its values in the contract's order, and its place in Kafka."""

    type: EventType
    values: tuple[Any, ...]
    kafka_time: int
    partition: int
    offset: int


@dataclass(frozen=True)
class Asked:
    """What a list is to be: ``count`` titles after the first ``offset``, of a choice, without some titles (rows)."""

    count: int = 10
    offset: int = 0
    choice: Choice = field(default_factory=Choice)
    exclude: frozenset[int] = frozenset()
    include_seen: bool = False
    diversity: float = 0.0


@dataclass(frozen=True)
class Listed:
    """A list: n titles by row, best first, their scores, the ratings predicted, and what it comes from."""

    titles: Ints
    scores: Floats
    ratings: Floats
    strategy: Strategy


class Live:
    """The state. Safe for threads: one may apply events while others ask."""

    def __init__(
        self,
        version: str,
        model: Model,
        snapshot: Snapshot,
        ratings: RatingsSettings,
        serve: ServeSettings,
        trained_at: int | None = None,
    ):
        self.version = version
        self.model = model
        self.snapshot = snapshot
        self.lock = threading.RLock()
        self._catalogue = Catalogue.of(model.ranking_factors.titles)
        self.titles = Titles(model, snapshot.titles, self._catalogue)
        self.people = People(model, snapshot, self.titles, ratings.implicit)
        self.popular = Popular(model.popularity, snapshot.history, serve.trending_half_life_hours, trained_at)
        self._of_users = FoldIn.of(model.users, model.biases.mean, model.feedback)
        self._raters: dict[int, set[int]] = {}
        self._unsettled: set[int] = set()

    # Events

    def apply(self, events: Iterable[Event]) -> None:
        """Take events, of any order and any number of times, and settle what they change."""
        self.take(events)
        while self.settle():
            pass

    def take(self, events: Iterable[Event]) -> None:
        """Take events; what they change of newcomers among titles shows once it is settled."""
        with self.lock:
            for event in events:
                self._apply(event)

    def _apply(self, event: Event) -> None:
        values = dict(zip(_FIELDS[event.type], event.values, strict=True))
        time = _microseconds(values["timestamp"])
        if event.type == "interaction":
            self._did(values, (time, event.kafka_time, values["id"]))
            return
        moment = (time, event.kafka_time, event.partition, event.offset)
        if event.type == "user":
            row = self.people.change({ours: values[theirs] for theirs, ours in _USER.items()}, moment)
            self._unsettled.update(self.people.new_titles_of(row))
            return
        decade = values["decada_lanzamiento"]
        card = {ours: values[theirs] for theirs, ours in _TITLE.items() if theirs in values}
        title = self.titles.change(card | {"decades": None if decade is None else [decade]}, moment)
        if title is not None and title >= self.titles.n_known:
            self._unsettled.add(title)

    def _did(self, values: dict[str, Any], moment: tuple[int, int, str]) -> None:
        verb = Verb(values["evento"])
        worth = self.people.worth(verb, values["calificacion"])
        if not worth:
            return
        title, user = self.titles.ids.add(values["id_contenido"]), self.people.ids.add(values["id_usuario"])
        before = self.people.last(user, title)
        deeds = self.people.did(user, title, verb is Verb.RATE, worth, moment)
        now = deeds.time if before is None else max(before, deeds.time)
        if before is None or now > before:
            self.popular.did(title, before, now)
        if title >= self.titles.n_known:
            self._raters.setdefault(title, set()).add(user)
            self._unsettled.add(title)
        self._unsettled.update(self.people.new_titles_of(user))

    def settle(self) -> bool:
        """Work out what is assumed of some newcomers among titles about which something was said.

        Tells whether any are left: not all at once, since requests wait for it.
        """
        with self.lock:
            rows = np.array(nsmallest(_SETTLED, self._unsettled), np.int64)
            self._unsettled.difference_update(rows.tolist())
            if len(rows):
                self._assume(rows)
            return bool(self._unsettled)

    def _assume(self, rows: Ints) -> None:
        found, n_known = self._new_titles(rows), self.titles.n_known
        before, n = self.titles.new, len(self.titles) - n_known
        parts = []
        for old, changed in zip(vars(before).values(), vars(found).values(), strict=True):
            grown = np.zeros((n, *old.shape[1:]), np.float32)
            grown[: len(old)] = old
            grown[rows - n_known] = changed
            parts.append(grown)
        self.titles.assume(Estimate(*parts))
        self.people.new_titles_changed()

    def _new_titles(self, rows: Ints) -> Estimate:
        """Solve for newcomers from what was said of them so far, and weigh it with their traits."""
        new = self.model.newcomers.titles
        each = [new.expect_one(self.titles.card(row).values()) for row in rows.tolist()]
        expected = _stacked(each)
        raters = [self._chosen_raters(row) for row in rows.tolist()]
        # In an order that does not tell in which they came: sums of floats depend on it.
        users = sorted({user for own in raters for user in own}, key=self.people.ids.name)
        place = {user: n for n, user in enumerate(users)}
        if not users:
            none = np.zeros(len(rows), np.int64)
            return new.weigh(expected, none, none, expected)
        other = _stacked([self.people.anchor(user) for user in users])
        cells = [
            (n, place[user], *self.people.counts(user, row)[:2])
            for n, (row, own) in enumerate(zip(rows.tolist(), raters, strict=True))
            for user in own
        ]
        title, user, stars, given = (np.array(column) for column in zip(*cells, strict=True))
        liking = Rows.of(title, user, stars, len(rows))
        rating = Rows.of(title[given], user[given], stars[given], len(rows))
        solved = self._of_users.given(other).solve(liking, rating, threads=1)
        return new.weigh(solved, liking.counts, rating.counts, expected)

    def _chosen_raters(self, title: int) -> list[int]:
        """Return whose ratings a newcomer among titles is solved from: of many some, the same whoever came first."""
        own = self._raters.get(title, set())
        if len(own) <= _MOST_RATERS:
            return list(own)
        return nsmallest(_MOST_RATERS, own, key=lambda row: _scattered(self.people.ids.name(row)))

    # Questions

    def recommend(self, person: Person, seen: Ints, asked: Asked) -> Listed:
        """Recommend to a person who has ``seen`` some titles (rows, ascending)."""
        with self.lock:
            exclude = self._excluded(seen, asked)
            n = asked.offset + asked.count
            wanted = n * _CHOICE_OF if asked.diversity > 0 else n
            if person.strategy == "popular":
                titles = self.popular.popular.top(wanted, self.titles.chosen(asked.choice), exclude)
                scores = self.popular.popularity(titles).astype(np.float32)
            else:
                titles, scores = self._best(person.ranking, wanted, exclude, asked.choice)
            if asked.diversity > 0 and len(titles):
                factors = self.titles.of(titles).ranking
                places, scores = diversified(
                    np.arange(len(titles))[None], scores[None], factors, min(n, len(titles)), 1 - asked.diversity
                )
                titles, scores = titles[places[0]], scores[0]
            titles, scores = titles[asked.offset : n], scores[asked.offset : n]
            return Listed(titles, scores, self.predict(person, titles), person.strategy)

    def rank(self) -> None:
        """Order what is popular, trending and new anew, where anything has changed."""
        with self.lock:
            order = self.popular.ranking(self.titles.places), self.titles.ranking()
        for each in order:
            each()

    def listed(self, which: str, asked: Asked, person: Person | None = None, seen: Ints | None = None) -> Listed:
        """Return what is "popular", "trending" or "new", to a person who has ``seen`` titles, or to nobody known."""
        with self.lock:
            exclude = self._excluded(_NONE if seen is None else seen, asked)
            ranked = {"popular": self.popular.popular, "trending": self.popular.trending, "new": self.titles.newest}[
                which
            ]
            titles = ranked.top(asked.offset + asked.count, self.titles.chosen(asked.choice), exclude)
            titles = titles[asked.offset :]
            nobody = person or self.people.stranger(Profile(""), Past.said({}))
            scores = self.popular.popularity(titles).astype(np.float32)
            return Listed(titles, scores, self.predict(nobody, titles), "popular")

    def similar(self, title: int, asked: Asked, seen: Ints | None = None) -> tuple[Ints, Floats]:
        """Return titles like one (a row) but for those ``seen``, and the cosines of their ranking factors with its own.

        It looks at all of the catalogue, and so locks the state for what changes alone.
        """
        with self.lock:
            own = self.titles.of(np.array([title])).ranking[0]
            if not own.any():
                return np.zeros(0, np.int64), np.zeros(0, np.float32)
            exclude = np.union1d(self._excluded(_NONE if seen is None else seen, asked), [title])
            chosen, new = self.titles.chosen(asked.choice), self.titles.new.ranking
            known = chosen.known.copy()
            added = self._added(chosen, exclude)
            norms = np.linalg.norm(new[added], axis=1) * np.linalg.norm(own)
            products = _products(new[added], own)
            also = np.divide(products, norms, out=np.zeros(len(added), np.float32), where=norms > 0)
            places = self.titles.places
        n = asked.offset + asked.count
        rows, cosines = self._catalogue.most_alike(own, n, exclude, known)
        rows, cosines = _merged(rows, cosines, added + self.titles.n_known, also, places)
        return rows[asked.offset : n], cosines[asked.offset : n]

    def predict(self, person: Person, titles: Ints) -> Floats:
        """Return the ratings that a person is predicted to give, (n,), within 0.5 to 5."""
        own, (rating, bias) = person.estimate, self.titles.rating_of(titles)
        stars = np.float32(self.model.biases.mean) + own.bias[0] + bias + _products(rating, own.rating[0])
        found: Floats = np.clip(stars, RATING_MIN, RATING_MAX)
        return found

    def group(self, people: Sequence[Person]) -> Person:
        """Return what several people are together: the mean of their directions, so that none drowns the others out."""
        estimates = [person.estimate for person in people if person.ranking.any()]
        if not estimates:
            return people[0]
        directions = [each.ranking / np.linalg.norm(each.ranking) for each in estimates]
        together = Estimate(
            np.mean(directions, axis=0, dtype=np.float32),
            np.mean([each.rating for each in estimates], axis=0, dtype=np.float32),
            np.mean([each.bias for each in estimates], axis=0, dtype=np.float32),
        )
        return Person(together, "personal", sum(person.n_liking for person in people))

    def _best(self, user: Floats, k: int, exclude: Ints, choice: Choice) -> tuple[Ints, Floats]:
        """Return the ``k`` best titles for a user's factors, exactly; equal scores in the order of rows."""
        chosen, n_known = self.titles.chosen(choice), self.titles.n_known
        pairs = Pairs(np.array([0, len(exclude)]), exclude)
        lists, products = self._catalogue.top_k(user[None], k, pairs, chosen.known)
        n = int(np.count_nonzero(lists[0] >= 0))
        rows, scores = lists[0, :n], products[0, :n]
        added = self._added(chosen, exclude)
        if not len(added):
            return rows, scores
        also = _products(self.titles.new.ranking[added], user)
        rows, scores = _merged(rows, scores, added + n_known, also, self.titles.places)
        return rows[:k], scores[:k]

    def _added(self, chosen: Chosen, exclude: Ints) -> Ints:
        """Return which newcomers are chosen and not to ``exclude`` (rows), ascending, in their own order."""
        allowed, n_known = chosen.newcomers(len(self.titles.new.ranking)), self.titles.n_known
        beyond = exclude[exclude >= n_known] - n_known
        allowed[beyond[beyond < len(allowed)]] = False
        return np.flatnonzero(allowed)

    def _excluded(self, seen: Ints, asked: Asked) -> Ints:
        if not asked.exclude and not asked.include_seen:
            return seen
        own = np.array(sorted(asked.exclude), np.int64)
        return own if asked.include_seen else np.union1d(own, seen)


def _merged(rows: Ints, scores: Floats, others: Ints, also: Floats, places: Ints) -> tuple[Ints, Floats]:
    """Return two lists of titles as one, best first, equal scores by ``places``."""
    rows, scores = np.concatenate([rows, others]), np.concatenate([scores, also])
    order = np.lexsort((places[rows], -scores))
    return rows[order], scores[order]


def _products(rows: Floats, vector: Floats) -> Floats:
    """Return rows @ vector, (n,): each the same wherever it stands among how many, which BLAS does not promise."""
    found: Floats = (rows * vector).sum(axis=1)
    return found


def _stacked(rows: Sequence[Estimate]) -> Estimate:
    """Return estimates one after another."""
    return Estimate(*(np.concatenate(parts) for parts in zip(*(vars(each).values() for each in rows), strict=True)))


def _scattered(name: str) -> tuple[int, str]:
    """Return what orders names as if by chance, everywhere alike."""
    return crc32(name.encode("utf-8", "surrogatepass")), name


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
