"""Ratings and profiles as what a model is refreshed with: `nextreel.model.refresh`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.model.model import Model
from nextreel.model.refresh import TitlesNow, UsersNow, refreshed
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits
from nextreel.ratings.sources import SOURCES
from nextreel.train.dataset import Dataset, Profiles


@dataclass(frozen=True)
class Alone:
    """Whether all ratings that there are stand for ``deeds``, or are ``guesses`` (simulated).

    Deeds count as stars, and guesses as what users said, only where there is nothing else.
    """

    deeds: bool
    guesses: bool

    @classmethod
    def of(cls, per_source: NDArray[np.integer]) -> "Alone":
        """Return what is so where there are so many ratings of each source, in the order of `SOURCES`."""
        alone = per_source == per_source.sum()
        return cls(*(bool(alone[SOURCES.index(source)]) for source in ("implicit", "simulated")))

    def stars(self, data: Dataset) -> Dataset:
        """Return what ratings are predicted from, of a dataset that may have some users' ratings only."""
        return data if self.deeds else data.where(~data.implicit)

    def said(self, data: Dataset) -> Dataset:
        """Return what users said and did, of a dataset that may have some users' ratings only."""
        return data if self.guesses else data.where(~data.simulated)


def up_to_date(model: Model, data: Dataset, profiles: Profiles) -> Model:
    """Return a model as the titles and users of a dataset are now."""
    return refreshed(model, *now(data, profiles))


def now(data: Dataset, profiles: Profiles) -> tuple[TitlesNow, UsersNow]:
    """Return the titles and users of a dataset as they are."""
    alone = Alone.of(np.bincount(data.source, minlength=len(SOURCES)))
    popularity = np.bincount(alone.said(data).title, minlength=data.n_titles).astype(np.float32)
    return TitlesNow(data.title_ids, profiles.titles, popularity), users_now(data, profiles.users, alone)


def users_now(data: Dataset, traits: Traits, alone: Alone) -> UsersNow:
    """Return the users of a dataset as they are; it may be a part of what ``alone`` tells of."""
    liking, ratings = (Rows.of(d.user, d.title, d.rating, data.n_users) for d in (data, alone.stars(data)))
    activity = np.bincount(alone.said(data).user, minlength=data.n_users)
    return UsersNow(data.user_ids, traits, liking, ratings, activity)
