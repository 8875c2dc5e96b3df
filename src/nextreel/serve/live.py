"""One model version and everything that happened since: what answers requests, and follows events.

Its state follows from the version and the set of events alone: not from their order, nor from how often each came. So a
server that was killed, and another beside it, come to the same answers.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
from nextreel.serve.interactions import Interaction
from nextreel.serve.people import Past, People, Person, Profile
from nextreel.serve.popular import Popular
from nextreel.serve.titles import Titles
from nextreel.serve.unsettled import Raters, Unsettled
from nextreel.settings import RatingsSettings, ServeSettings

#: Titles that a diverse list chooses from, for each that it has.
_CHOICE_OF = 5
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
        most = serve.interactions_per_user
        self.people = People(model, snapshot, self.titles, ratings.implicit, most, trained_at)
        self.popular = Popular(model.popularity, snapshot.history, serve.trending_half_life_hours, trained_at)
        self._of_users = FoldIn.of(model.users, model.biases.mean, model.feedback)
        self._unsettled = Unsettled()
        self._raters = Raters(self.people.ids.name)

    # Events

    def apply(self, events: Iterable[Event]) -> None:
        """Take events, of any order and any number of times, and settle what they change."""
        self.take(events)
        while self.settle():
            pass

    def take(self, events: Iterable[Event]) -> None:
        """Take events; what they change of new titles shows once it is settled."""
        with self.lock:
            for event in events:
                self._apply(event)

    def _apply(self, event: Event) -> None:
        values = dict(zip(_FIELDS[event.type], event.values, strict=True))
        time = _microseconds(values["timestamp"])
        if event.type == "interaction":
            self._interacted(values, time, event.kafka_time)
            return
        moment = (time, event.kafka_time, event.partition, event.offset)
        if event.type == "user":
            self._user_changed(self.people.change({ours: values[theirs] for theirs, ours in _USER.items()}, moment))
            return
        decade = values["decada_lanzamiento"]
        card = {ours: values[theirs] for theirs, ours in _TITLE.items() if theirs in values}
        title = self.titles.change(card | {"decades": None if decade is None else [decade]}, moment)
        if title is not None and title >= self.titles.n_known:
            self._unsettled.add(title, is_urgent=not self.titles.arrivals.is_estimated(title))
            self.popular.reorder()

    def _interacted(self, values: dict[str, Any], time: int, kafka_time: int) -> None:
        verb = Verb(values["evento"])
        worth = self.people.worth(verb, values["calificacion"])
        if not worth:
            return
        title, user = self.titles.ids.add(values["id_contenido"]), self.people.ids.add(values["id_usuario"])
        is_first = not self.people.has_seen(user, title)
        changes = self.people.did(user, title, verb is Verb.RATE, Interaction(time, kafka_time, values["id"], worth))
        if is_first:
            self.popular.count(title)
            if title >= self.titles.n_known:
                self._raters.add(title, user)
        for changed, before, after in changes:
            self.popular.move(changed, before, after)
            if changed >= self.titles.n_known and self.titles.is_new(changed):
                self._unsettled.add(changed)
        if changes:
            self._user_changed(user)

    def _user_changed(self, user: int) -> None:
        """Note that the new titles of a user are to be estimated again, where they are estimated from that user."""
        if user >= self.people.ids.n_known and self.people.has_new_titles(user):
            self._unsettled.add_user(user)

    def settle(self) -> bool:
        """Estimate some of the new titles about which something changed; tell whether any are left.

        Not all at once, since requests wait for it.
        """
        with self.lock:
            rows = self._unsettled.take(self.people.new_titles_of, self._raters.count)
            if len(rows):
                self.titles.estimate(rows, self._new_titles(rows))
                self.people.new_titles_changed()
            return bool(self._unsettled)

    def _new_titles(self, rows: Ints) -> Estimate:
        """Return estimates of new titles, by row: from their ratings so far, weighed with their traits."""
        new = self.model.newcomers.titles
        expected = _stacked([new.expect_one(self.titles.card(row).values()) for row in rows.tolist()])
        raters = [[user for user in self._raters.of(row) if self.people.holds(user, row)] for row in rows.tolist()]
        # In an order that does not depend on that of events: sums of floats depend on it.
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
            chosen, n = self.titles.chosen(asked.choice), asked.offset + asked.count
            known = chosen.known.copy()
            slots = self._added(chosen, exclude)
            new = self.titles.arrivals.estimates.ranking[slots]
            norms = np.linalg.norm(new, axis=1) * np.linalg.norm(own)
            also = np.divide(_products(new, own), norms, out=np.zeros(len(slots), np.float32), where=norms > 0)
            added = self._best_added(slots, also, n)
        rows, cosines = self._catalogue.most_alike(own, n, exclude, known)
        rows, cosines = _merged(rows, cosines, added)
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
        chosen = self.titles.chosen(choice)
        pairs = Pairs(np.array([0, len(exclude)]), exclude)
        lists, products = self._catalogue.top_k(user[None], k, pairs, chosen.known)
        n = int(np.count_nonzero(lists[0] >= 0))
        rows, scores = lists[0, :n], products[0, :n]
        slots = self._added(chosen, exclude)
        if not len(slots):
            return rows, scores
        also = _products(self.titles.arrivals.estimates.ranking[slots], user)
        rows, scores = _merged(rows, scores, self._best_added(slots, also, k))
        return rows[:k], scores[:k]

    def _added(self, chosen: Chosen, exclude: Ints) -> Ints:
        """Return the slots of new titles that have an estimate, are chosen and not to ``exclude`` (rows)."""
        arrivals, slots = self.titles.arrivals, np.flatnonzero(chosen.new)
        if not len(slots):
            return slots
        out = arrivals.slots(exclude[exclude >= self.titles.n_known])
        return _without(slots[arrivals.estimated(slots)], out)

    def _best_added(self, slots: Ints, scores: Floats, k: int) -> tuple[Ints, Floats, Ints]:
        """Return the ``k`` new titles with the highest scores, and those with equal ones: rows, scores, places."""
        if len(slots) > k > 0:
            best = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
            slots, scores = slots[best], scores[best]
        rows = self.titles.arrivals.rows[slots]
        return rows, scores, self.titles.places_of(rows)

    def _excluded(self, seen: Ints, asked: Asked) -> Ints:
        if not asked.exclude and not asked.include_seen:
            return seen
        own = np.array(sorted(asked.exclude), np.int64)
        return own if asked.include_seen else np.union1d(own, seen)


def _merged(rows: Ints, scores: Floats, added: tuple[Ints, Floats, Ints]) -> tuple[Ints, Floats]:
    """Return titles of the model and new ones (rows, scores, places) as one list: best first, equals by place."""
    others, also, places = added
    places = np.concatenate([rows, places])
    rows, scores = np.concatenate([rows, others]), np.concatenate([scores, also])
    order = np.lexsort((places, -scores))
    return rows[order], scores[order]


def _without(slots: Ints, out: Ints) -> Ints:
    left: Ints = slots[~np.isin(slots, out)] if len(out) else slots
    return left


def _products(rows: Floats, vector: Floats) -> Floats:
    """Return rows @ vector, (n,): each the same wherever it stands among how many, which BLAS does not promise."""
    found: Floats = (rows * vector).sum(axis=1)
    return found


def _stacked(rows: Sequence[Estimate]) -> Estimate:
    """Return estimates one after another."""
    return Estimate(*(np.concatenate(parts) for parts in zip(*(vars(each).values() for each in rows), strict=True)))


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
