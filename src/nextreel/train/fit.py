"""One training: a dataset in, a model out."""

import numpy as np

from nextreel.model.model import Model
from nextreel.settings import TrainSettings
from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset
from nextreel.train.engine import Cells, Engine, Objective


def fit_model(data: Dataset, settings: TrainSettings, engine: Engine) -> Model:
    """Fit biases, then explicit ALS on what they leave over, then implicit ALS for the order.

    The implicit model sees how far each rating lies above neutral: more stars are more confidence, and a rating below
    is a confident no. On ml-latest-small and the synthetic world that ranked a seventh to a third better (nDCG@10) than
    counting every rating alike.
    """
    biases = fit_biases(data, settings.damping)
    residuals = data.rating - biases.predict(data.user, data.title)
    shape = (data.n_users, data.n_titles)
    common = {"factors": settings.factors, "iterations": settings.iterations, "seed": settings.seed}
    rating_factors = engine(
        Cells(*shape, data.user, data.title, residuals.astype(np.float32)),
        Objective("explicit", regularization=settings.regularization, **common),
    )
    ranking_factors = engine(
        Cells(*shape, data.user, data.title, data.rating - np.float32(settings.neutral_rating)),
        Objective("implicit", regularization=settings.ranking_regularization, alpha=settings.alpha, **common),
    )
    said = data if data.simulated.all() else data.where(~data.simulated)
    popularity = np.bincount(said.title, minlength=data.n_titles).astype(np.float32)
    return Model(data.user_ids, data.title_ids, biases, rating_factors, ranking_factors, popularity)
