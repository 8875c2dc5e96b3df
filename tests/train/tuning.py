"""Ratings worth tuning for, settings that are bad for them, and a program: ``tuning.py HOME TRIALS`` tunes.

The program tells of each trial by a line.
"""

import sys
from typing import Any

import numpy as np
import pyarrow as pa

from nextreel.settings import Settings, load
from nextreel.train.dataset import Dataset, dataset
from nextreel.train.local import local_engine
from nextreel.train.question import Trainer
from nextreel.train.tune import Found, Standing, tune
from nextreel.train.validation import Parts, parts

TRAINER = Trainer("local", local_engine())
NOBODY = pa.table({"user_id": pa.array([], pa.string())})

#: All but the best ratings count for dislike, and both models are shrunk to next to nothing.
BAD = {
    "train.neutral_rating": 4.99,
    "train.ranking_regularization": 100,
    "train.regularization": 5,
    "train.damping": 200,
}


def settings(home: object, **other: Any) -> Settings:
    """Small models in bad settings; a double underscore is the dot of a setting's name."""
    given = {"home": home, "train.factors": 4, "train.iterations": 3, "tuning.max_factors": 6, "tuning.trials": 9}
    given |= {"evaluation.resamples": 200, **BAD} | {name.replace("__", "."): value for name, value in other.items()}
    return load({name: str(value) for name, value in given.items()}, {})


def ratings(n_users: int = 120, n_titles: int = 60, seed: int = 1) -> Dataset:
    """Two audiences, each of which likes its own half of the titles and, some of them, not the other."""
    rng = np.random.default_rng(seed)
    users, titles = np.nonzero(rng.random((n_users, n_titles)) < 0.25)
    likes = (users + titles) % 2 == 0
    kept = likes | (rng.random(len(users)) < 0.5)
    stars = np.where(likes, rng.integers(8, 11, len(users)), rng.integers(1, 6, len(users))) / 2
    columns = {
        "user_id": [f"u{u:03}" for u in users[kept]],
        "content_id": [f"t{t:03}" for t in titles[kept]],
        "rating": stars[kept],
        "source": ["observed"] * int(kept.sum()),
    }
    return dataset(pa.table(columns))


def in_parts(data: Dataset, given: Settings) -> Parts:
    """Observed ratings in parts: nothing is simulated."""
    return parts(data, NOBODY, lambda users: users, given)


def tuned(given: Settings, data: Dataset | None = None) -> tuple[Found, list[Standing]]:
    """What tuning comes to, and all that it told."""
    told: list[Standing] = []
    split = in_parts(ratings() if data is None else data, given).validation
    return tune(split, given, TRAINER, told.append), told


if __name__ == "__main__":
    GIVEN = settings(sys.argv[1], tuning__trials=sys.argv[2])
    tune(
        in_parts(ratings(), GIVEN).validation,
        GIVEN,
        TRAINER,
        lambda standing: print(standing.name, standing.done, flush=True),  # noqa: T201 (its answer)
    )
