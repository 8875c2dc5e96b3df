"""The model as everybody is now: those who came after its training in it, and all that users did since.

Titles keep the factors that training gave them, and a title that is new has those that its traits let expect. Users are
solved for anew, all of them: `nextreel.model.foldin` and `nextreel.model.estimate`, as in the last step of training.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.model.arrays import Floats, Ints
from nextreel.model.estimate import Estimate
from nextreel.model.foldin import FoldIn
from nextreel.model.model import Biases, Factors, Feedback, Model, Newcomers
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits, take


@dataclass(frozen=True)
class TitlesNow:
    """Titles in the order of their ids, ascending: their own traits, and how many ratings there are of each, (n,)."""

    ids: pa.StringArray
    traits: Traits
    popularity: Floats


@dataclass(frozen=True)
class UsersNow:
    """Users in the order of their ids, ascending: what they prefer, and their ratings in stars, by rows of titles.

    ``liking`` is what the factors that rank are solved from, ``ratings`` what all else is; ``activity`` (n,) counts
    what they said and did.
    """

    ids: pa.StringArray
    traits: Traits
    liking: Rows
    ratings: Rows
    activity: Ints


def refreshed(model: Model, titles: TitlesNow, users: UsersNow) -> Model:
    """Return a model of these titles and users: on what the model was trained with, its own."""
    return with_users(with_titles(model, titles), users)


def with_titles(model: Model, titles: TitlesNow) -> Model:
    """Return the model of these titles, and of no users yet."""
    row = pc.fill_null(pc.index_in(titles.ids, model.title_ids), -1).to_numpy().astype(np.int64)
    new = np.flatnonzero(row < 0)
    row[new] = len(model.title_ids) + np.arange(len(new))
    expected = model.newcomers.titles.expect(take(titles.traits, new))
    found = model.titles.followed_by(expected).take(row)
    return without_users(titles, found, model.biases.mean, model.feedback, model.newcomers)


def with_users(model: Model, users: UsersNow, fold: FoldIn | None = None, threads: int | None = None) -> Model:
    """Return the model of the same titles, but of these users, solved for now; ``fold`` spares to make it again."""
    fold = fold or FoldIn.of(model.titles, model.biases.mean, model.feedback)
    return weighed(model, users, fold.solve(users.liking, users.ratings, threads))


def without_users(titles: TitlesNow, found: Estimate, mean: float, feedback: Feedback, newcomers: Newcomers) -> Model:
    """Return the model of titles of which so much was ``found``, and of no users yet."""
    nobody = np.zeros(0, np.float32)
    return Model(
        user_ids=pa.array([], pa.string()),
        title_ids=titles.ids,
        biases=Biases(mean, nobody, found.bias),
        rating_factors=Factors(found.rating[:0], found.rating),
        ranking_factors=Factors(found.ranking[:0], found.ranking),
        popularity=titles.popularity,
        activity=np.zeros(0, np.int64),
        feedback=feedback,
        newcomers=newcomers,
    )


def weighed(model: Model, users: UsersNow, solved: Estimate) -> Model:
    """Return the model of these users, ``solved`` from their ratings: with what their traits say of them."""
    new = model.newcomers.users
    found = new.weigh(solved, users.liking.counts, users.ratings.counts, new.expect(users.traits))
    return replace(
        model,
        user_ids=users.ids,
        biases=replace(model.biases, users=found.bias),
        rating_factors=replace(model.rating_factors, users=found.rating),
        ranking_factors=replace(model.ranking_factors, users=found.ranking),
        activity=users.activity,
    )
