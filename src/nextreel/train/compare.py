"""Two settings of the training, judged by the same held-out ratings."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from nextreel.model.model import Model
from nextreel.settings import Settings
from nextreel.train.evaluate import K, Quality, judge, plain
from nextreel.train.measure import Interval
from nextreel.train.question import as_ranked
from nextreel.train.splits import Split

Verdict = Literal["better", "worse", "no clear difference"]


@dataclass(frozen=True)
class Gain:
    """By how much a metric of the tuned settings lies above that of those in use, with its 95 % interval."""

    value: float
    interval: Interval
    higher_is_better: bool

    @property
    def verdict(self) -> Verdict:
        """What the interval leaves no doubt of."""
        low, high = self.interval if self.higher_is_better else (-self.interval.high, -self.interval.low)
        return "better" if low > 0 else "worse" if high < 0 else "no clear difference"


@dataclass(frozen=True)
class Comparison:
    """The quality of models of settings ``now`` and ``tuned``, and of baselines, and what the tuned ones gain."""

    quality: Quality
    ndcg: Gain
    rmse: Gain
    n_train: int
    n_test: int
    n_users_ranked: int
    simulated: bool
    held_out: str

    @property
    def better(self) -> bool:
        """Whether the tuned settings are to be preferred, by ratings that people gave.

        They are where the ranking is clearly better and predicted ratings are not clearly worse, or where predicted
        ratings are clearly better and the ranking is not worse at all: it is what people see.
        """
        if self.simulated or self.rmse.verdict == "worse":
            return False
        return self.ndcg.verdict == "better" or (self.rmse.verdict == "better" and self.ndcg.value >= 0)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data; what could not be measured is None."""
        found = asdict(self)
        quality = found.pop("quality")
        gains = {
            metric: {"value": gain.value, "interval": gain.interval, "verdict": gain.verdict}
            for metric, gain in (("ndcg", self.ndcg), ("rmse", self.rmse))
        }
        result: dict[str, Any] = plain(quality | found | {"k": K, "better": self.better} | gains)
        return result


def compare(now: Model, tuned: Model, split: Split, settings: Settings) -> Comparison:
    """Judge two models, which were trained on the split's one part, by the other, as evaluation does.

    ``settings`` are those in use: they say what is to be found. Lists are as the models rank, not diversified.
    """
    found = judge({"now": now, "tuned": tuned}, split, as_ranked(settings))
    draws = (settings.evaluation.resamples, settings.train.seed)
    quality = found.quality(np.ones(split.test.n_users, np.bool_))
    ranking, accuracy = quality.ranking, quality.accuracy
    return Comparison(
        quality,
        ndcg=Gain(
            ranking["tuned"].ndcg - ranking["now"].ndcg, found.ranks.difference("tuned", "now", "ndcg", *draws), True
        ),
        rmse=Gain(
            accuracy["tuned"].rmse - accuracy["now"].rmse,
            found.errors.difference("tuned", "now", "rmse", *draws),
            False,
        ),
        n_train=len(split.train),
        n_test=len(split.test),
        n_users_ranked=len(found.ranks.users),
        simulated=split.simulated,
        held_out=split.held_out,
    )
