"""New titles whose estimates are out of date, and the users that they are estimated from."""

from collections.abc import Callable
from heapq import nsmallest
from zlib import crc32

import numpy as np

from nextreel.model.arrays import Ints

#: Titles that are estimated at a time, and users whose ratings they are estimated from.
_TITLES, _RATERS = 64, 400
#: Users whose titles are looked up at a time.
_USERS = 500
#: A new title is estimated from the ratings of so many users until the next training.
_MOST_RATERS = 200


class Unsettled:
    """New titles (rows) to be estimated: first those that never were, then the others; each once, first come first."""

    def __init__(self) -> None:
        self._urgent: dict[int, None] = {}
        self._others: dict[int, None] = {}
        self._users: dict[int, None] = {}

    def __bool__(self) -> bool:
        return bool(self._urgent or self._others or self._users)

    def add(self, title: int, is_urgent: bool = False) -> None:
        """Add a title."""
        if is_urgent:
            self._urgent[title] = None
            self._others.pop(title, None)
        elif title not in self._urgent:
            self._others[title] = None

    def add_user(self, user: int) -> None:
        """Add all titles of a user, who is looked up later: an event costs the same however many these are."""
        self._users[user] = None

    def take(self, titles_of: Callable[[int], list[int]], n_raters: Callable[[int], int]) -> Ints:
        """Remove titles that can be estimated in a moment, at least one where there are any, and return them.

        ``titles_of`` returns the new titles of a user, ``n_raters`` how many users a title is estimated from.
        """
        for _ in range(_USERS):
            if not self._users or len(self._others) >= _TITLES:
                break
            user = next(iter(self._users))
            del self._users[user]
            for title in titles_of(user):
                self.add(title)
        rows: list[int] = []
        cost = 0
        for waiting in (self._urgent, self._others):
            while waiting and len(rows) < _TITLES and cost < _RATERS:
                title = next(iter(waiting))
                del waiting[title]
                rows.append(title)
                cost += n_raters(title)
        return np.array(rows, np.int64)


class Raters:
    """Users (rows) who rated a new title or did anything with it: of many, some, the same whoever came first."""

    def __init__(self, name: Callable[[int], str]):
        """``name`` returns a user's id."""
        self._name = name
        self._users: dict[int, int | list[int]] = {}  # most unknown titles have one: a list takes 88 bytes

    def add(self, title: int, user: int) -> None:
        """Add a user who was not added to the title before."""
        own = self._users.get(title)
        if own is None:
            self._users[title] = user
            return
        if isinstance(own, int):
            own = self._users[title] = [own]
        own.append(user)
        if len(own) >= 2 * _MOST_RATERS:
            self._users[title] = self._some(own)

    def count(self, title: int) -> int:
        """Return how many users `of` returns."""
        own = self._users.get(title, ())
        return 1 if isinstance(own, int) else min(len(own), _MOST_RATERS)

    def of(self, title: int) -> list[int]:
        """Return the users that a title is estimated from."""
        own = self._users.get(title, [])
        if isinstance(own, int):
            return [own]
        return self._some(own) if len(own) > _MOST_RATERS else own

    def _some(self, users: list[int]) -> list[int]:
        return nsmallest(_MOST_RATERS, users, key=lambda user: _scattered(self._name(user)))


def _scattered(name: str) -> tuple[int, str]:
    """Return what orders names as if by chance, on every server alike."""
    return crc32(name.encode("utf-8", "surrogatepass")), name
