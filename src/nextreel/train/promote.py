"""Whether a trained version may become the current one: by its evaluation, its baselines' and the current one's.

The current model cannot be judged by the ratings that are held out now: it has learned from them. And its stored
figures are of other ratings; what they say depends on how many titles compete and how the split fell. So a version
counts as fallen behind only where both its nDCG and its lead over popularity (the ratio of their nDCG) are lower: data
that grow move the first, a popularity that did well by chance the second, a model that got worse both. docs/models.md
has the measurements.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import inf, isnan, nan, sqrt
from typing import Any, Literal

from nextreel.model.described import Undescribed
from nextreel.model.journal import Verdict
from nextreel.model.store import ModelStore
from nextreel.model.version import Facts
from nextreel.settings import VersionsSettings

#: Standard deviation of nDCG@10 from user to user, about; two standard errors of a difference are no difference.
_SPREAD, _ERRORS = 0.2, 2.0


@dataclass(frozen=True)
class Figures:
    """What a version's model.json says of how good it is; NaN is what could not be measured.

    Only figures of the same ``protocol`` (how ratings were held out and judged) are comparable.
    """

    version: str
    ndcg: float
    popularity_ndcg: float
    rmse: float
    bias_rmse: float
    n_users: int
    simulated: bool
    protocol: object
    nothing_to_offer: str

    @classmethod
    def of(cls, facts: Facts) -> "Figures":
        """Read them; what is not there was not measured."""
        evaluation = facts.get("evaluation") or {}
        ranking, accuracy = evaluation.get("ranking", {}), evaluation.get("accuracy", {})
        return cls(
            version=facts.get("version", ""),
            ndcg=_measured(ranking, "als", "ndcg"),
            popularity_ndcg=_measured(ranking, "popularity", "ndcg"),
            rmse=_measured(accuracy, "als", "rmse"),
            bias_rmse=_measured(accuracy, "bias", "rmse"),
            n_users=evaluation.get("n_users_ranked") or 0,
            simulated=bool(evaluation.get("simulated")),
            protocol=evaluation.get("protocol"),
            nothing_to_offer=_nothing_to_offer(facts),
        )

    @property
    def lead(self) -> float:
        """How many times popularity's nDCG that of the model is."""
        return self.ndcg / self.popularity_ndcg if self.popularity_ndcg else inf

    def evidence(self, min_users: int) -> Literal["observed", "simulated", "none"]:
        """Return what the ranking was judged by: ratings that people gave, simulated ones, or too few of either."""
        if isnan(self.ndcg) or isnan(self.popularity_ndcg) or self.n_users < min_users:
            return "none"
        return "simulated" if self.simulated else "observed"


def promote_if_good(store: ModelStore, version: str, settings: VersionsSettings) -> Verdict:
    """Make a stored version current if it deserves it; either way the verdict is recorded in the store."""
    return store.decide(version, partial(judge, settings=settings))


def judge(candidate: Facts, current: Facts | None, settings: VersionsSettings) -> Verdict:
    """Judge by two versions' model.json; ``current`` is None where there is no version to fall behind."""
    new = Figures.of(candidate)
    old = None if current is None else Figures.of(current)
    if new.nothing_to_offer:
        return Verdict(False, new.nothing_to_offer)
    refusals = [*_behind_baselines(new, settings), *(_behind_current(new, old, settings) if old else ())]
    return Verdict(False, "; ".join(refusals)) if refusals else Verdict(True, _grounds(new, old, settings))


def _behind_baselines(new: Figures, settings: VersionsSettings) -> Iterator[str]:
    """Yield what simpler things do better; simulated ratings, and few, are no evidence for those either."""
    if new.evidence(settings.min_users) != "observed":
        return
    if new.ndcg <= new.popularity_ndcg:
        yield f"nDCG@10 {new.ndcg:.3f} is not above popularity's, {new.popularity_ndcg:.3f}"
    if new.rmse > new.bias_rmse * (1 + settings.rmse_tolerance):
        share = _percent(settings.rmse_tolerance)
        yield f"RMSE {new.rmse:.3f} is more than {share} above that of biases, {new.bias_rmse:.3f}"


def _behind_current(new: Figures, old: Figures, settings: VersionsSettings) -> Iterator[str]:
    """Yield what says that the current version is better, or better attested."""
    if old.evidence(settings.min_users) == "observed" != new.evidence(settings.min_users):
        yield f"{_too_little(new, settings)}, and {old.version}, which is current, was judged by what people rated"
    elif _comparable(new, old, settings) and _lower(new, old, settings.tolerance):
        yield (
            f"nDCG@10 {new.ndcg:.3f} is below that of {old.version}, which is current, {old.ndcg:.3f}, by more than "
            f"{_percent(settings.tolerance)} and more than chance, and it is {new.lead:.2f} times popularity's, "
            f"not {old.lead:.2f}"
        )


def _comparable(new: Figures, old: Figures, settings: VersionsSettings) -> bool:
    same = new.evidence(settings.min_users) == old.evidence(settings.min_users) != "none"
    return same and new.protocol == old.protocol


def _lower(new: Figures, old: Figures, tolerance: float) -> bool:
    """Tell whether nDCG, beyond chance, and the lead over popularity are both lower than the tolerance allows."""
    chance = _ERRORS * _SPREAD * sqrt(1 / new.n_users + 1 / old.n_users)
    return new.ndcg < old.ndcg - max(tolerance * old.ndcg, chance) and new.lead < old.lead * (1 - tolerance)


def _grounds(new: Figures, old: Figures | None, settings: VersionsSettings) -> str:
    """Return what a promotion rests upon."""
    found = _too_little(new, settings)
    if new.evidence(settings.min_users) == "observed":
        found = f"nDCG@10 {new.ndcg:.3f}, popularity's {new.popularity_ndcg:.3f}"
    if old is None:
        return f"{found}; no other was current"
    return found if _comparable(new, old, settings) else f"{found}; {old.version} was judged in another way"


def _too_little(new: Figures, settings: VersionsSettings) -> str:
    if new.simulated:
        return "only simulated ratings were held out"
    users = f"{new.n_users} user{'' if new.n_users == 1 else 's'}"
    return f"only {users} had held-out ratings to find, of {settings.min_users} that a judgement takes"


def _nothing_to_offer(facts: Facts) -> str:
    """Return why a version can recommend nothing that it has learned of; empty where it can."""
    undescribed = Undescribed.recorded(facts.get("data", {}))
    if undescribed is None or not undescribed.is_all or facts["data"].get("simulated"):
        return ""
    return undescribed.lines()[0]


def _measured(group: dict[str, Any], who: str, metric: str) -> float:
    found = group.get(who, {}).get(metric)
    return nan if found is None else float(found)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
