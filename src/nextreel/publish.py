"""What everybody is recommended, written out after a training."""

from pathlib import Path

import pyarrow as pa

from nextreel.insight.export import write_recommendations
from nextreel.model.lists import recommendations_table
from nextreel.model.model import Model
from nextreel.model.store import ModelStore
from nextreel.settings import Settings
from nextreel.train.dataset import Profiles
from nextreel.train.job import Training
from nextreel.train.now import up_to_date


def publish(training: Training, settings: Settings) -> tuple[pa.Table, Path]:
    """Write everyone's recommendations by the current model, and return them with the CSV's path.

    Where a training was refused, that is the model before, up to date with what users have done since; where there is
    none, it is what was just learned.
    """
    store, wanted = ModelStore(settings.models), settings.export
    model, version = _serving(training, store)
    seen = training.data.pairs_of(model.user_ids, model.title_ids)
    table = recommendations_table(model, seen, training.users, training.titles, wanted.top_k, wanted.diversity)
    return table, write_recommendations([table], settings.exports, version)


def _serving(training: Training, store: ModelStore) -> tuple[Model, str]:
    current = store.current()
    if training.verdict.promoted or current is None:
        return training.model, training.version
    profiles = Profiles.of(training.data, training.users, training.titles)
    return up_to_date(store.load(current), training.data, profiles), current
