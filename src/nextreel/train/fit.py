"""One training: a dataset in, a model out."""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.model.arrays import Floats
from nextreel.model.model import Factors, Model
from nextreel.settings import TrainSettings
from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset
from nextreel.train.engine import Cells, Engine, Objective


def fit_model(data: Dataset, settings: TrainSettings, engine: Engine, start: Model | None = None) -> Model:
    """Fit biases, then explicit ALS on what they leave over, then implicit ALS for the order.

    Where there is a model to ``start`` from, of the same number of factors, training goes on from its factors.

    The implicit model sees how far each rating lies above neutral: more stars are more confidence, and a rating below
    is a confident no. On ml-latest-small and the synthetic world that ranked a seventh to a third better (nDCG@10) than
    counting every rating alike.
    """
    biases = fit_biases(data, settings.damping)
    residuals = data.rating - biases.predict(data.user, data.title)
    shape = (data.n_users, data.n_titles)
    common = partial(Objective, factors=settings.factors, iterations=settings.iterations, seed=settings.seed)
    rating_factors = engine(
        Cells(*shape, data.user, data.title, residuals.astype(np.float32)),
        common("explicit", regularization=settings.regularization),
        None if start is None else _aligned(start, start.rating_factors, data),
    )
    ranking_factors = engine(
        Cells(*shape, data.user, data.title, data.rating - np.float32(settings.neutral_rating)),
        common("implicit", regularization=settings.ranking_regularization, alpha=settings.alpha),
        None if start is None else _aligned(start, start.ranking_factors, data),
    )
    said = data if data.simulated.all() else data.where(~data.simulated)
    popularity = np.bincount(said.title, minlength=data.n_titles).astype(np.float32)
    return Model(data.user_ids, data.title_ids, biases, rating_factors, ranking_factors, popularity)


def _aligned(model: Model, factors: Factors, data: Dataset) -> Factors:
    """Return a model's factors by the rows of a dataset; of whom the model does not know, zero."""

    def rows(known: pa.StringArray, wanted: pa.StringArray, values: Floats) -> Floats:
        place = pc.index_in(wanted, known)
        found = np.zeros((len(wanted), values.shape[1]), np.float32)
        there = pc.is_valid(place).to_numpy(zero_copy_only=False)
        found[there] = values[pc.drop_null(place).to_numpy()]
        return found

    return Factors(
        rows(model.user_ids, data.user_ids, factors.users), rows(model.title_ids, data.title_ids, factors.titles)
    )
