"""Which ratings are held out to judge a model by, and what is left to learn from.

Only observed ratings are held out where there are any, else implicit ones, else simulated ones, which say nothing of
quality; and of these only ratings of titles that a movie or series event describes: no others can be recommended. And
the training part is as it would be if the held-out ratings had never been given: whom they leave with too few
observed ratings has simulated ones, where those are made, and those may be of titles that are held out. Otherwise a
model could learn from the gaps among simulated ratings what it will be asked for. Where times decide, what else was
done after the first rating that is held out is left out as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.errors import ModelError
from nextreel.model.arrays import Mask
from nextreel.settings import RatingsSettings, Settings
from nextreel.train.dataset import Dataset

#: Takes users (user_id and the traits they prefer); returns their simulated ratings as a ratings table, of whatever
#: they have rated.
Simulate = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Split:
    """Ratings to learn from and ratings held out, over the same ids.

    ``protocol`` is what two evaluations must share to be comparable; ``held_out`` says it for people.
    """

    train: Dataset
    test: Dataset
    protocol: dict[str, object]
    held_out: str

    @property
    def simulated(self) -> bool:
        """Whether there is something to judge by, and nobody has given any of it."""
        return len(self.test) > 0 and bool(self.test.simulated.all())


def split(data: Dataset, users: pa.Table, simulate: Simulate, settings: Settings) -> Split:
    """Hold ratings out as the settings say, and see to the simulated ones; ``users`` are those who can get any."""
    return without_hindsight(hold_out(data, settings), users, simulate, settings.ratings)


def hold_out(data: Dataset, settings: Settings) -> Split:
    """Hold ratings out as ``settings.evaluation`` says; at random where there are none but simulated ones.

    Raises `ModelError` where times decide and are not known.
    """
    mask, protocol, held_out = _rule(data, settings)
    later = _later(data, mask, protocol["split"]) if mask.any() else mask
    return Split(data.where(~mask & ~later), data.where(mask), protocol, held_out)


def _later(data: Dataset, mask: Mask, kind: object) -> Mask:
    """Return what else was done (n,) that training would not have known of yet.

    Since the first rating that a mask holds out: by anybody where a moment divides all of them, by the same user where
    each has their own. A random part has no before and after.
    """
    first = np.full(data.n_users, np.datetime64("9999-12-31", "us"))
    if kind == "last":
        np.minimum.at(first, data.user[mask], data.timestamp[mask])
    elif kind == "time":
        first[:] = data.timestamp[mask].min()
    other = data.implicit | ~data.offered[data.title]
    later: Mask = other & ~mask & (data.timestamp >= first[data.user])
    return later


def _rule(data: Dataset, settings: Settings) -> tuple[Mask, dict[str, object], str]:
    """Return what is held out (n,), as a mask, as a protocol and in words."""
    share, last_k, since = settings.train.test_fraction, settings.evaluation.last_k, settings.evaluation.since
    kind = settings.evaluation.split
    if kind == "random" or data.simulated.all():
        drawn = at_random(data, share, settings.train.seed)
        return drawn, {"split": "random", "test_fraction": share}, f"a random {share:.0%}"
    if np.isnat(data.timestamp[data.evidence]).any():
        raise ModelError(f"some ratings have no time, and evaluation.split is {kind!r}; only 'random' needs none")
    if kind == "last":
        return newest(data, last_k), {"split": "last", "last_k": last_k}, f"the last {last_k} of each user"
    if not isinstance(since, datetime) and not data.evidence.any():  # there is no time that divides them
        none: Mask = np.zeros(len(data), np.bool_)
        return none, {"split": "time", "since": str(since)}, f"all after the first {since:.0%}"
    start = _utc(since) if isinstance(since, datetime) else moment(data, since)
    text = f"all since {str(start.astype('datetime64[m]')).replace('T', ' ')} UTC"
    return from_then_on(data, start), {"split": "time", "since": str(since)}, text


def _utc(time: datetime) -> np.datetime64:
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


def at_random(data: Dataset, share: float, seed: int) -> Mask:
    """Return a mask (n,) of a random ``share`` of the ratings that are evidence."""
    drawn: Mask = np.random.default_rng(seed).random(len(data)) < share
    return drawn & data.evidence


def newest(data: Dataset, k: int) -> Mask:
    """Return a mask (n,) of each user's last ``k`` ratings that are evidence; who has no more keeps them all.

    Of equal times, the higher row is the later.
    """
    evidence = np.flatnonzero(data.evidence)
    order = evidence[np.lexsort((data.timestamp[evidence], data.user[evidence]))]
    user = data.user[order]
    count = np.bincount(user, minlength=data.n_users)
    until_last = np.cumsum(count)[user] - np.arange(len(order))
    mask = np.zeros(len(data), np.bool_)
    mask[order[(until_last <= k) & (count[user] > k)]] = True
    return mask


def from_then_on(data: Dataset, start: np.datetime64) -> Mask:
    """Return a mask (n,) of the ratings that are evidence and were given at ``start`` (UTC) or later."""
    mask: Mask = data.evidence & (data.timestamp >= start)
    return mask


def moment(data: Dataset, share: float) -> np.datetime64:
    """Return the time before which a ``share`` of what is evidence was given; less where many have that time."""
    times = data.timestamp[data.evidence]
    nth = int(share * len(times))
    found: np.datetime64 = np.partition(times, nth)[nth]
    return found


def without_hindsight(split: Split, users: pa.Table, simulate: Simulate, settings: RatingsSettings) -> Split:
    """Return a split whose training part has the simulated ratings it would have, had the rest never been given.

    ``users`` (user_id and traits) are those who can get any.
    """
    train = split.train
    deprived = _deprived(train, split.test, settings)
    profiles = users.filter(pc.is_in(users["user_id"], train.user_ids.filter(pa.array(deprived))))
    if profiles.num_rows == 0:
        return split
    anew = train.among(simulate(profiles))
    rated = train.where(deprived[train.user] & ~train.simulated)
    unrated = ~np.isin(_pairs(anew), _pairs(rated))
    return replace(split, train=train.where(~(deprived[train.user] & train.simulated)).plus(anew.where(unrated)))


def _pairs(data: Dataset) -> NDArray[np.int64]:
    """Return a number for each rating's user and title, (n,)."""
    found: NDArray[np.int64] = data.user.astype(np.int64) * data.n_titles + data.title
    return found


def _deprived(train: Dataset, test: Dataset, settings: RatingsSettings) -> Mask:
    """Return which users (n_users,) have observed ratings held out, and so too few left that simulated ones are due."""
    left = np.bincount(train.user[train.observed], minlength=train.n_users)
    taken = np.bincount(test.user[test.observed], minlength=test.n_users)
    few: Mask = left < settings.min_observed
    return few & (taken > 0) & settings.simulates(int(np.count_nonzero(~few)))
