"""Users as they are now: what they declare, what they rated and did, and the factors that follow from both."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from nextreel.events.contract import Verb
from nextreel.model.arrays import Floats, Ints
from nextreel.model.estimate import Estimate
from nextreel.model.foldin import FoldIn
from nextreel.model.model import Model
from nextreel.model.recommend import Strategy
from nextreel.model.snapshot import NO_TIME, Snapshot
from nextreel.model.solve import Rows
from nextreel.serve.ids import Ids
from nextreel.serve.interactions import Change, Interaction, Interactions
from nextreel.serve.titles import Moment, Titles
from nextreel.settings import ImplicitRatings

#: Users with events whose factors are kept; those asked for longest ago go first, and are solved for anew.
_MOST_PEOPLE = 100_000
#: Users of whom is kept what is expected of them, and what newcomers among titles are solved from.
_MOST_ANCHORS = 20_000

_LISTS = ("genres", "directors", "actors", "decades")


@dataclass(frozen=True)
class Profile:
    """What a user declares; what is not known is None."""

    user_id: str
    username: str | None = None
    genres: list[str] | None = None
    directors: list[str] | None = None
    actors: list[str] | None = None
    decades: list[str] | None = None
    age_rating: str | None = None

    def values(self) -> dict[str, list[str]]:
        """Return the values of each trait that the user prefers, without nulls."""
        found = {name: [value for value in getattr(self, name) or () if value is not None] for name in _LISTS}
        return found | {"age_rating": [] if self.age_rating is None else [self.age_rating]}


_NAMES = tuple(Profile.__dataclass_fields__)


@dataclass(frozen=True)
class Past:
    """What a user rated and did, m titles by row: stars, whether they were given, when (`History`)."""

    titles: Ints
    ratings: Floats
    given: np.ndarray[Any, np.dtype[np.bool_]]
    times: Ints

    @classmethod
    def said(cls, stars: Mapping[int, float]) -> "Past":
        """Return what somebody who is not a user says of titles (rows)."""
        titles, n = sorted(stars), len(stars)
        given = np.array([stars[title] for title in titles], np.float32)
        return cls(np.array(titles, np.int64), given, np.ones(n, np.bool_), np.full(n, NO_TIME))

    def seen(self) -> Ints:
        """Return the titles, rows ascending."""
        return np.sort(self.titles)

    def only(self, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> "Past":
        """Return some of the titles, by a mask (m,)."""
        return self if kept.all() else Past(*(column[kept] for column in vars(self).values()))

    def with_more(self, places: Ints, more: "Past") -> "Past":
        """Return the same with more titles, each before the title of a place (m,), ascending."""
        fresh = np.zeros(len(self.titles) + len(places), np.bool_)
        fresh[places + np.arange(len(places))] = True
        held, columns = ~fresh, []
        for ours, theirs in zip(vars(self).values(), vars(more).values(), strict=True):
            column = np.empty(len(fresh), ours.dtype)
            column[held], column[fresh] = ours, theirs
            columns.append(column)
        return Past(*columns)

    def liking(self) -> Rows:
        """Return all of it as one row of ratings, columns in this order."""
        return _one_row(np.arange(len(self.titles)), self.ratings)

    def stars(self) -> Rows:
        """Return what was given, alike."""
        given = np.flatnonzero(self.given)
        return _one_row(given, self.ratings[given])


@dataclass(frozen=True)
class Person:
    """A user as recommendations see them: one row of estimates, what it rests on, and on how many titles."""

    estimate: Estimate
    strategy: Strategy
    n_liking: int

    @cached_property
    def ranking(self) -> Floats:
        """The factors that rank, (k,)."""
        found: Floats = self.estimate.ranking[0]
        return found


class People:
    """Rows of users: those of the model first, in its order, then newcomers in the order in which they came."""

    def __init__(
        self,
        model: Model,
        snapshot: Snapshot,
        titles: Titles,
        implicit: ImplicitRatings,
        most: int,
        trained_at: int | None = None,
    ):
        """Keep the newest ``most`` interactions of each user; no trained one counts as later than ``trained_at``."""
        self.ids = Ids(model.user_ids)
        self._most = most
        self._trained_at = trained_at
        self._model = model
        self._snapshot = snapshot
        self._titles = titles
        self._stands_for = {Verb(name): getattr(implicit, name) for name in ImplicitRatings.model_fields}
        self.fold_in = FoldIn.of(model.titles, model.biases.mean, model.feedback)
        self._columns = [snapshot.users[name] for name in _NAMES]
        self._declared: dict[int, tuple[Moment, Profile]] = {}
        self._interactions: dict[int, Interactions] = {}
        #: Users as solved for, and the round of estimates of new titles that they were solved with.
        self._people: dict[int, tuple[int, Person]] = {}
        self._round = 0
        self._anchors: dict[int, Estimate] = {}
        self._expected: dict[int, Estimate] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def profile(self, row: int) -> Profile:
        """Return what a user declares."""
        if row in self._declared:
            return self._declared[row][1]
        if row >= self.ids.n_known:
            return Profile(self.ids.name(row))
        return Profile(*(column[row].as_py() for column in self._columns))

    def change(self, values: dict[str, Any], moment: Moment) -> int:
        """Take a user's event, unless something newer is known; return the user's row."""
        row = self.ids.add(values["user_id"])
        if moment >= self._known_since(row):
            self._declared[row] = moment, Profile(**values)
            self._expected.pop(row, None)
            self._changed(row)
        return row

    def _known_since(self, row: int) -> Moment:
        if row in self._declared:
            return self._declared[row][0]
        if row >= self.ids.n_known:
            return (NO_TIME, 0, 0, 0)
        since = self._snapshot.users["updated_at"][row].cast(pa.int64()).as_py()
        return (NO_TIME if since is None else since, 0, 0, 0)

    def worth(self, verb: Verb, stars: float | None) -> float | None:
        """Return what a deed counts for, in stars; None or 0 where it does not."""
        return stars if verb is Verb.RATE else self._stands_for[verb]

    def did(self, row: int, title: int, is_rating: bool, what: Interaction) -> list[Change]:
        """Take a user's interaction with a title; return what changed of when titles were last interacted with."""
        own = self._interactions.get(row)
        if own is None:
            own = self._interactions[row] = Interactions()
        changes = own.add(title, is_rating, what, self._most, self._titles.ids.name)
        if changes:
            self._changed(row)
            own.has_new |= title >= self._titles.n_known
        return [self._since_training(row, change) for change in changes]

    def _since_training(self, row: int, change: Change) -> Change:
        """Return a change with what the model knows of the user and title."""
        trained = self._trained_time(row, change.title)
        if trained is None:
            return change
        if self._trained_at is not None:
            trained = min(trained, self._trained_at)
        before, after = (trained if time is None else max(time, trained) for time in change[1:])
        return Change(change.title, before, after)

    def has_seen(self, row: int, title: int) -> bool:
        """Tell whether a user rated a title or did anything with it, however long ago."""
        own = self._interactions.get(row)
        return (own is not None and title in own) or self._trained_time(row, title) is not None

    def seen(self, row: int) -> Ints:
        """Return the titles that a user rated or did something with, rows ascending."""
        titles, own = self._trained_titles(row), self._interactions.get(row)
        return titles if own is None else np.unique(np.concatenate([titles, own.seen()]))

    def past(self, row: int) -> Past:
        """Return what a user rated and did until now: all that the model knows, and the newest since.

        Its order does not depend on that of events: sums of floats depend on it.
        """
        known, own = self._trained_on(row), self._interactions.get(row)
        if own is None:
            return known
        new = np.array(list(own.titles()), np.int64)
        new = new[np.argsort(self._titles.places_of(new))]
        counts = [own.counts(title) for title in new.tolist()]
        stars, given, times = (np.array(column) for column in zip(*counts, strict=True))
        place = known.titles.searchsorted(new)
        there = place < len(known.titles)
        there[there] = known.titles[place[there]] == new[there]
        at = place[there]
        later = (given[there] > known.given[at]) | (
            (given[there] == known.given[at]) & (times[there] >= known.times[at])
        )
        merged = Past(known.titles, known.ratings.copy(), known.given.copy(), known.times.copy())
        of_both = np.flatnonzero(there)[later]
        for held, said in ((merged.ratings, stars), (merged.given, given), (merged.times, times)):
            held[at[later]] = said[of_both]
        return merged.with_more(place[~there], Past(new[~there], stars[~there], given[~there], times[~there]))

    def _trained_on(self, row: int) -> Past:
        history, own = self._snapshot.history, self._span(row)
        return Past(history.titles[own].astype(np.int64), history.ratings[own], history.given[own], history.times[own])

    def _trained_titles(self, row: int) -> Ints:
        return self._snapshot.history.titles[self._span(row)].astype(np.int64)

    def _span(self, row: int) -> slice:
        return slice(*self._snapshot.history.start[row : row + 2].tolist()) if row < self.ids.n_known else slice(0, 0)

    def holds(self, row: int, title: int) -> bool:
        """Tell whether a user's interaction with a title is kept."""
        own = self._interactions.get(row)
        return own is not None and own.holds(title)

    def counts(self, row: int, title: int) -> tuple[float, bool, int]:
        """Return what counts of a user's interactions with a new title that are kept: `Interactions.counts`."""
        return self._interactions[row].counts(title)

    def _trained_time(self, row: int, title: int) -> int | None:
        """Return when a user last did something with a title, as the model knows; None where it does not."""
        if row >= self.ids.n_known or title >= self._titles.n_known:
            return None
        history = self._snapshot.history
        begin, end = history.start[row : row + 2].tolist()
        place = begin + int(history.titles[begin:end].searchsorted(title))
        return int(history.times[place]) if place < end and history.titles[place] == title else None

    def person(self, row: int) -> Person:
        """Return a user as they are now."""
        if row < self.ids.n_known and row not in self._interactions and row not in self._declared:
            model = self._trained(row)
            n = int(self._snapshot.history.start[row + 1] - self._snapshot.history.start[row])
            return Person(model, _strategy(model, n), n)
        solved_in, found = self._people.pop(row, (-1, None))
        if found is None or (solved_in != self._round and self.has_new_titles(row)):
            found = self._solved(self._expectation(row), self.past(row))
        self._people[row] = self._round, found
        _forget(self._people, _MOST_PEOPLE)
        return found

    def _expectation(self, row: int) -> Estimate:
        """Return what is expected of a user by what they declare."""
        found = self._expected.get(row)
        if found is None:
            found = self._expected[row] = self._expects(self.profile(row))
            _forget(self._expected, _MOST_ANCHORS)
        return found

    def _trained(self, row: int) -> Estimate:
        ranking, rating, bias = self._model.ranking_factors, self._model.rating_factors, self._model.biases
        one = slice(row, row + 1)
        return Estimate(ranking.users[one], rating.users[one], bias.users[one])

    def stranger(self, profile: Profile, past: Past) -> Person:
        """Return somebody who is not a user, by what they declare and what they say of titles."""
        return self._solved(self._expects(profile), past)

    def anchor(self, row: int) -> Estimate:
        """Return what newcomers among titles are solved from: a user without those, as trained where they were."""
        if row < self.ids.n_known:
            return self._trained(row)
        found = self._anchors.get(row)
        if found is None:
            past = self.past(row)
            of_known = past.only(past.titles < self._titles.n_known)
            found = self._anchors[row] = self._solved(self._expectation(row), of_known).estimate
            _forget(self._anchors, _MOST_ANCHORS)
        return found

    def _changed(self, row: int) -> None:
        """Have a user solved for anew."""
        self._people.pop(row, None)
        self._anchors.pop(row, None)

    def new_titles_of(self, row: int) -> list[int]:
        """Return the newcomers among titles whose factors change with a user: none where the model has the user."""
        if row < self.ids.n_known:
            return []
        own = self._interactions.get(row)
        if own is None or not own.has_new:
            return []
        return [title for title in own.titles() if self._titles.is_new(title)]

    def has_new_titles(self, row: int) -> bool:
        """Tell whether a user had to do with any title that the model does not have."""
        own = self._interactions.get(row)
        return own is not None and own.has_new

    def new_titles_changed(self) -> None:
        """Note that estimates of new titles changed: users who rated any are solved for again when somebody asks."""
        self._round += 1

    def counted(self, past: Past) -> Past:
        """Return what a user is solved from: titles of which nothing but interactions is known do not count."""
        return past.only(self._titles.have_estimates(past.titles))

    def _expects(self, profile: Profile) -> Estimate:
        return self._model.newcomers.users.expect_one(profile.values())

    def _solved(self, expected: Estimate, past: Past) -> Person:
        past = self.counted(past)
        liking, stars = past.liking(), past.stars()
        solved = self.fold_in.given(self._titles.of(past.titles)).solve(liking, stars, threads=1)
        estimate = self._model.newcomers.users.weigh(solved, liking.counts, stars.counts, expected)
        return Person(estimate, _strategy(estimate, len(past.titles)), len(past.titles))


def _forget(held: dict[int, Any], most: int) -> None:
    """Drop what was put in first where there is more than ``most``."""
    if len(held) > most:
        del held[next(iter(held))]


def _strategy(estimate: Estimate, n_liking: int) -> Strategy:
    if not estimate.ranking.any():
        return "popular"
    return "personal" if n_liking else "preferences"


def _one_row(columns: Ints, values: Floats) -> Rows:
    return Rows(np.array([0, len(values)]), columns.astype(np.int32), values.astype(np.float32))
