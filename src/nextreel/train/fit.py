"""One training: a dataset in, a model out."""

import numpy as np

from nextreel.model.model import Model
from nextreel.settings import TrainSettings
from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset
from nextreel.train.engine import Cells, Engine, Objective


def fit_model(data: Dataset, settings: TrainSettings, engine: Engine) -> Model:
    """Fit biases, then explicit ALS on what they leave over, then implicit ALS for the order."""
    biases = fit_biases(data, settings.damping)
    residuals = data.rating - biases.predict(data.user, data.title)
    shape = (data.n_users, data.n_titles)
    common = {"factors": settings.factors, "iterations": settings.iterations, "seed": settings.seed}
    rating_factors = engine(
        Cells(*shape, data.user, data.title, residuals.astype(np.float32)),
        Objective("explicit", regularization=settings.regularization, **common),
    )
    ranking_factors = engine(
        Cells(*shape, data.user, data.title, np.ones(len(data), np.float32)),
        Objective("implicit", regularization=settings.ranking_regularization, alpha=settings.alpha, **common),
    )
    popularity = np.bincount(data.title, minlength=data.n_titles).astype(np.float32)
    return Model(data.user_ids, data.title_ids, biases, rating_factors, ranking_factors, popularity)
