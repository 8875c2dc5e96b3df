"""Ratings and profiles as what a model is refreshed with: `nextreel.model.refresh`."""

import numpy as np

from nextreel.model.model import Model
from nextreel.model.refresh import TitlesNow, UsersNow, refreshed
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits
from nextreel.train.dataset import Alone, Dataset, Profiles


def up_to_date(model: Model, data: Dataset, profiles: Profiles) -> Model:
    """Return a model as the titles and users of a dataset are now."""
    return refreshed(model, *now(data, profiles))


def now(data: Dataset, profiles: Profiles) -> tuple[TitlesNow, UsersNow]:
    """Return the titles and users of a dataset as they are."""
    alone = data.alone
    popularity = np.bincount(alone.said(data).title, minlength=data.n_titles).astype(np.float32)
    return TitlesNow(data.title_ids, profiles.titles, popularity), users_now(data, profiles.users, alone)


def users_now(data: Dataset, traits: Traits, alone: Alone) -> UsersNow:
    """Return the users of a dataset as they are; it may be a part of what ``alone`` tells of."""
    stars = alone.stars(data)
    liking = Rows.of(data.user, data.title, data.to_rank, data.n_users)
    ratings = Rows.of(stars.user, stars.title, stars.rating, data.n_users)
    activity = np.bincount(alone.said(data).user, minlength=data.n_users)
    return UsersNow(data.user_ids, traits, liking, ratings, activity)
