"""What tuning asks: which parameters rank best, and which predict ratings best.

The two are independent, for neither model sees the other one's parameters; but for the number of factors, which both
have. The ranking decides it.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from nextreel import __version__
from nextreel.model.model import Factors, Model
from nextreel.settings import Settings, TrainSettings
from nextreel.train.dataset import Dataset, Profiles
from nextreel.train.engine import Cells, Engine, Objective
from nextreel.train.evaluate import K, judge, relevant_ratings
from nextreel.train.fit import fit_model
from nextreel.train.measure import errors
from nextreel.train.splits import Split
from nextreel.train.study import Parameters, Question

Kind = Literal["explicit", "implicit"]
Name = Literal["ranking", "ratings"]

#: What each question's trials are judged by.
METRICS: dict[Name, str] = {"ranking": f"nDCG@{K}", "ratings": "RMSE"}

#: Where values of each question's parameters are looked for, and whether evenly in their logarithm.
_RANGES: dict[Name, dict[str, tuple[float, float, bool]]] = {
    "ranking": {
        "alpha": (0.1, 30.0, True),
        "ranking_regularization": (0.01, 10.0, True),
        "neutral_rating": (0.0, 4.0, False),
    },
    "ratings": {"regularization": (0.01, 1.0, True), "damping": (0.0, 25.0, False)},
}
_LEAST_FACTORS = 8

TUNED: dict[Name, tuple[str, ...]] = {"ranking": ("factors", *_RANGES["ranking"]), "ratings": (*_RANGES["ratings"],)}

#: Settings of the training that no trial of given ratings and engine depends on.
_IMMATERIAL = {"engine", "local_ratings", "warm_start", "test_fraction"}


@dataclass(frozen=True)
class Trainer:
    """Fits models as `nextreel train` does: with one ALS engine, its ``name``, and the traits of users and titles."""

    name: str
    engine: Engine
    profiles: Profiles | None = None

    def fit(self, data: Dataset, settings: TrainSettings) -> Model:
        """Return the model that ratings and settings come to."""
        return fit_model(data, settings, self.engine, profiles=self.profiles)

    def only(self, kind: Kind) -> "Trainer":
        """Return the same for one kind of factors: the others are zero, and take no time."""

        def fit(cells: Cells, objective: Objective, start: Factors | None = None) -> Factors:
            if objective.kind == kind:
                return self.engine(cells, objective, start)
            k = objective.factors
            return Factors(np.zeros((cells.n_users, k), np.float32), np.zeros((cells.n_titles, k), np.float32))

        return replace(self, engine=fit)


def question(name: Name, split: Split, settings: Settings, trainer: Trainer) -> Question:
    """Return a question about ``settings.train``, whose trials learn from the split's one part and find the other.

    What is to be found is the same in all trials, by the settings in use.
    """
    stars = split.test.where(~split.test.implicit)

    def fitted(kind: Kind, values: Parameters) -> Model:
        return trainer.only(kind).fit(split.train, settings.train.model_copy(update=dict(values)))

    def ranking(values: Parameters) -> float:
        found = judge({"als": fitted("implicit", values)}, split, as_ranked(settings))
        return found.ranks.values()["als"]["ndcg"]

    def ratings(values: Parameters) -> float:
        predicted = fitted("explicit", values).predict(stars.user, stars.title)
        return errors({"als": predicted}, stars).values()["als"]["rmse"]

    return Question(
        name=f"{name}-{_digest(name, split, settings, trainer)}",
        space=_space(name, settings),
        present={parameter: getattr(settings.train, parameter) for parameter in TUNED[name]},
        maximize=name == "ranking",
        judge=ranking if name == "ranking" else ratings,
    )


def as_ranked(settings: Settings) -> Settings:
    """Return the settings to judge lists by as the model ranks, before they are diversified."""
    return settings.model_copy(update={"export": settings.export.model_copy(update={"diversity": 0.0})})


def _space(name: Name, settings: Settings) -> dict[str, BaseDistribution]:
    """Return where values are looked for: the usual ranges, widened to hold those in use."""
    found: dict[str, BaseDistribution] = {}
    if name == "ranking":
        most, present = settings.tuning.max_factors, settings.train.factors
        found["factors"] = IntDistribution(min(_LEAST_FACTORS, most, present), max(most, present), log=True)
    for parameter, (low, high, log) in _ranges(name, settings).items():
        value = getattr(settings.train, parameter)
        found[parameter] = FloatDistribution(min(low, value), max(high, value), log=log)
    return found


def _ranges(name: Name, settings: Settings) -> dict[str, tuple[float, float, bool]]:
    """Return the ranges of a question's parameters: by all of a row's confidence λ is multiplied with a lot."""
    by_all = settings.train.ranking_scaling == "all" and name == "ranking"
    return _RANGES[name] | ({"ranking_regularization": (0.0005, 0.5, True)} if by_all else {})


def _digest(name: Name, split: Split, settings: Settings, trainer: Trainer) -> str:
    """Return a digest of all that a trial's value depends on beside the question's own parameters."""
    other: Name = "ratings" if name == "ranking" else "ranking"
    free = _IMMATERIAL | {*TUNED[name]} | ({*TUNED[other]} - {"factors"})
    fixed = {
        "version": __version__,
        "engine": trainer.name,
        "k": K,
        "max_users": settings.evaluation.max_users,
        "protocol": split.protocol,
        "train": settings.train.model_dump(exclude=free),
    }
    digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode())
    for part in (split.train, split.test):
        for ids in (part.user_ids, part.title_ids):
            digest.update("\0".join([*ids.to_pylist(), ""]).encode())
        for values in (part.user, part.title, part.rating, part.source):
            digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(relevant_ratings(split.test, settings).tobytes())
    for traits in (trainer.profiles.users, trainer.profiles.titles) if trainer.profiles else ():
        for trait, values in sorted(traits.items()):
            digest.update(f"{trait} {values.to_pylist()}".encode())
    return digest.hexdigest()[:16]
