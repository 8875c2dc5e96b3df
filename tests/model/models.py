"""Models put together by hand."""

import numpy as np
import pyarrow as pa

from nextreel.model.arrays import Floats, Ints
from nextreel.model.estimate import TraitModel
from nextreel.model.model import Biases, Factors, Feedback, Model, Newcomers
from nextreel.model.ridge import Linear
from nextreel.model.traits import Vocabulary

FEEDBACK = Feedback(neutral_rating=2.5, alpha=3.0, ranking_regularization=0.8, regularization=0.15, damping=5.0)


def knows_traits(rng: np.random.Generator, names: list[str], k: int, n: int) -> TraitModel:
    """Expects something of each trait: factors that rank (k), that predict (n), a bias."""

    def linear(columns: int) -> Linear:
        return Linear(
            rng.normal(size=columns).astype(np.float32), rng.normal(size=(len(names), columns)).astype(np.float32)
        )

    average = rng.normal(size=k).astype(np.float32)
    return TraitModel(Vocabulary(pa.array(names, pa.string())), linear(k), linear(n), linear(1), average, 1.5, 2.25)


def make_model(
    user_ids: pa.StringArray,
    title_ids: pa.StringArray,
    biases: Biases,
    rating_factors: Factors,
    ranking_factors: Factors,
    popularity: Floats,
    activity: Ints | None = None,
    newcomers: Newcomers | None = None,
) -> Model:
    """Return a model; by default each user has rated something, and no trait says anything."""
    nothing = knows_traits(
        np.random.default_rng(0), [], ranking_factors.titles.shape[1], rating_factors.titles.shape[1]
    )
    return Model(
        user_ids=user_ids,
        title_ids=title_ids,
        biases=biases,
        rating_factors=rating_factors,
        ranking_factors=ranking_factors,
        popularity=popularity,
        activity=np.ones(len(user_ids), np.int64) if activity is None else activity,
        feedback=FEEDBACK,
        newcomers=newcomers or Newcomers(nothing, nothing),
    )
