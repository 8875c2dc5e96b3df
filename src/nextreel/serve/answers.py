"""Questions to a live state, answered as plain data for `nextreel.serve.schemas`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import numpy as np

from nextreel.model.arrays import Floats, Ints
from nextreel.model.snapshot import NO_TIME
from nextreel.serve.live import Asked, Listed, Live
from nextreel.serve.people import Past, Person, Profile
from nextreel.serve.reasons import Reason, reasons
from nextreel.serve.titles import Card, Titles
from nextreel.settings import AffinityWeights

Data = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Things of a kind that a reason names.
_MOST_REASONS = 3
_CARDS = 100_000
_DIGITS = 4


class Unknown(Exception):  # noqa: N818 (an answer: 404)
    """What was asked for is not known."""


class Answers:
    """Answers from one live state. It is locked for the time of an answer."""

    def __init__(self, live: Live, weights: AffinityWeights):
        self.live = live
        self._weights = weights
        self._card = lru_cache(_CARDS)(partial(_look_up, live.titles))

    # Somebody

    def who(self, user_id: str) -> tuple[Person, Past, bool]:
        """Return a user as they are now, with their past, and whether they are known at all."""
        people = self.live.people
        row = people.ids.find(user_id)
        if row is None:
            return people.stranger(Profile(user_id), Past.said({})), Past.said({}), False
        return people.person(row), people.past(row), True

    def seen(self, user_id: str) -> Ints:
        """Return all titles (rows, ascending) that a user ever rated or did something with."""
        row = self.live.people.ids.find(user_id)
        return np.zeros(0, np.int64) if row is None else self.live.people.seen(row)

    def profile(self, user_id: str) -> Profile:
        """Return what a user declares."""
        row = self.live.people.ids.find(user_id)
        return Profile(user_id) if row is None else self.live.people.profile(row)

    def title(self, content_id: str) -> int:
        """Return a title's row. Raises `Unknown`."""
        row = self.live.titles.ids.find(content_id)
        if row is None or not self.live.titles.is_offered(row):
            raise Unknown(f"there is no title {content_id!r}")
        return row

    def rows(self, content_ids: Sequence[str]) -> frozenset[int]:
        """Return the rows of those titles that are known."""
        found = (self.live.titles.ids.find(name) for name in content_ids)
        return frozenset(row for row in found if row is not None)

    # Lists

    def recommendations(self, user_id: str, asked: Asked, explain: bool) -> Data:
        """Recommend to a user; to one who is not known, what is popular."""
        with self.live.lock:
            people = self.live.people
            row = people.ids.find(user_id)
            if row is None or explain:
                person, past, known = self.who(user_id)
                found = self.live.recommend(person, self.seen(user_id), asked)
                why = self._reasons(self.profile(user_id), past, found) if explain else None
                return self._page(found, known, asked, why)
            return self._page(self.live.recommend(people.person(row), people.seen(row), asked), True, asked, None)

    def wanted(
        self, profile: Profile, liked: dict[str, float], user_ids: Sequence[str], asked: Asked, explain: bool
    ) -> Data:
        """Recommend to somebody by what they declare and like, or to several users (and that somebody) together.

        Raises `Unknown` for a title that is named and not known.
        """
        with self.live.lock:
            past = Past.said({self.title(content_id): stars for content_id, stars in liked.items()})
            alone = self.live.people.stranger(profile, past)
            if not user_ids:
                found = self.live.recommend(alone, past.seen(), asked)
                known = found.strategy != "popular"
                return self._page(found, known, asked, self._reasons(profile, past, found) if explain else None)
            others = [self.who(user_id) for user_id in user_ids]
            people = [person for person, *_ in others] + ([alone] if alone.strategy != "popular" else [])
            seen = np.unique(np.concatenate([past.titles, *(self.seen(user_id) for user_id in user_ids)]))
            found = self.live.recommend(self.live.group(people), seen, asked)
            return self._page(found, any(known for *_, known in others), asked, None)

    def listed(self, which: str, asked: Asked, user_id: str | None) -> Data:
        """Return what is "popular", "trending" or "new", for a user without what they have seen."""
        with self.live.lock:
            if user_id is None:
                return self._page(self.live.listed(which, asked), False, asked, None)
            person, _, known = self.who(user_id)
            return self._page(self.live.listed(which, asked, person, self.seen(user_id)), known, asked, None)

    def similar(self, content_id: str, asked: Asked, user_id: str | None) -> Data:
        """Return titles like one, for a user without what they have seen. Raises `Unknown`."""
        with self.live.lock:
            row = self.title(content_id)
            seen = None if user_id is None else self.seen(user_id)
        titles, cosines = self.live.similar(row, asked, seen)
        with self.live.lock:
            items = [
                self.card(row) | {"rank": asked.offset + n + 1, "similarity": round(float(cosine), _DIGITS)}
                for n, (row, cosine) in enumerate(zip(titles.tolist(), cosines, strict=True))
            ]
            return {"model": self.live.version, "content_id": content_id, "offset": asked.offset, "items": items}

    # One user, one title

    def why(self, user_id: str, content_id: str) -> Data:
        """Explain a title to a user. Raises `Unknown`."""
        with self.live.lock:
            row = np.array([self.title(content_id)])
            (person, past, _), profile = self.who(user_id), self.profile(user_id)
            other = past.titles != row[0]  # a title does not explain itself
            without = past.only(other)
            if not other.all():
                person = self.live.people.stranger(profile, without)
            found = Listed(
                row,
                self.live.titles.of(row).ranking @ person.ranking,
                self.live.predict(person, row),
                person.strategy,
            )
            (reason,) = self._reasons(profile, without, found)
            return {
                "model": self.live.version,
                "user_id": user_id,
                "content_id": content_id,
                "strategy": person.strategy,
                "score": _number(found.scores[0]),
                "predicted_rating": _number(found.ratings[0]),
                "reason": reason,
            }

    def estimates(self, pairs: Sequence[tuple[str, str]]) -> Data:
        """Predict the ratings of users and titles; None for a title that is not known."""
        with self.live.lock:
            items = []
            for user_id, content_id in pairs:
                row = self.live.titles.ids.find(content_id)
                stars = None if row is None else _number(self.live.predict(self.who(user_id)[0], np.array([row]))[0])
                items.append({"user_id": user_id, "content_id": content_id, "predicted_rating": stars})
            return {"model": self.live.version, "items": items}

    def history(self, user_id: str, count: int, offset: int) -> Data:
        """Return a page of what a user rated and did, the newest first."""
        with self.live.lock:
            _, past, known = self.who(user_id)
            order = np.lexsort((self.live.titles.places_of(past.titles), -past.times))[offset : offset + count]
            items = []
            for place in order.tolist():
                card, time = self.card(int(past.titles[place])), int(past.times[place])
                items.append(
                    {name: card[name] for name in ("content_id", "title", "type")}
                    | {"rating": _number(past.ratings[place]), "rated": bool(past.given[place])}
                    | {"at": None if time == NO_TIME else _EPOCH + timedelta(microseconds=time)}
                )
            return {
                "user_id": user_id,
                "known": known,
                "total": len(past.titles),
                "offset": offset,
                "items": items,
            }

    # Titles

    def one(self, content_id: str) -> Data:
        """Return a title's card. Raises `Unknown`."""
        with self.live.lock:
            return self.card(self.title(content_id))

    def search(self, text: str, count: int) -> Data:
        """Return titles whose names have all words of a text, the most popular first."""
        named = self.live.titles.named(text)
        with self.live.lock:
            rows = self.live.titles.search(text, named)
            popularity = self.live.popular.popularity(rows)
            best = np.lexsort((self.live.titles.places_of(rows), -popularity))[:count]
            return {"items": [self.card(row) for row in rows[best].tolist()]}

    def card(self, row: int) -> Data:
        """Return a title's card as data."""
        return dict(self._card(row, self.live.titles.revision(row)))

    def _page(self, found: Listed, known: bool, asked: Asked, why: "list[Data] | None") -> Data:
        items = []
        for n, (row, stars, score) in enumerate(
            zip(found.titles.tolist(), _numbers(found.ratings), _numbers(found.scores), strict=True)
        ):
            item = self.card(row)
            item["rank"] = asked.offset + n + 1
            item["predicted_rating"] = stars
            item["score"] = score
            if why is not None:
                item["reason"] = why[n]
            items.append(item)
        return {
            "model": self.live.version,
            "strategy": found.strategy,
            "known": known,
            "offset": asked.offset,
            "items": items,
        }

    def _reasons(self, profile: Profile, past: Past, found: Listed) -> list[Data]:
        if not len(found.titles):
            return []
        return [
            self._reason(why) for why in reasons(self.live, profile, past, found.titles, _MOST_REASONS, self._weights)
        ]

    def _reason(self, why: Reason) -> Data:
        because = [
            {"content_id": card["content_id"], "title": card["title"], "share": _number(share)}
            for card, share in ((self.card(row), share) for row, share in why.titles)
        ]
        return {
            "because_of": because,
            "preferences": [asdict(met) | {"share": _number(met.share)} for met in why.met],
            "preferences_share": _number(why.declared),
            "rest": _number(why.rest),
        }


def _look_up(titles: Titles, row: int, revision: int) -> Data:
    return card_data(titles.card(row))


def card_data(card: Card) -> Data:
    """Return a card as data: no null lists, one decade."""
    return {
        "content_id": card.content_id,
        "type": card.type,
        "title": card.title,
        "genres": card.genres or [],
        "directors": card.directors or [],
        "actors": card.actors or [],
        "decade": card.decades[0] if card.decades else None,
        "age_rating": card.age_rating,
        "seasons": card.seasons,
        "episodes": card.episodes,
    }


def _numbers(values: Floats) -> list[float]:
    found: list[float] = values.astype(np.float64).round(_DIGITS).tolist()
    return found


def _number(value: float | np.floating[Any]) -> float:
    return round(float(value), _DIGITS)
