"""The search for better settings of the training: trials, one question after the other, within limits."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage

from nextreel.settings import Settings, TrainSettings, TuningSettings
from nextreel.train.question import METRICS, TUNED, Name, Trainer, question
from nextreel.train.splits import Split
from nextreel.train.study import Search, journal, names

#: Trials where no limit is set, and the share of trials and of time that is for the ranking.
_TRIALS, _RANKING_SHARE = 40, 2 / 3


@dataclass(frozen=True)
class Standing:
    """Where a question's search stands: ``done`` trials, of ``trials`` where their number is limited.

    ``present`` and ``best`` are what the settings in use and the best ones came to on validation, None where nothing
    was tried. ``earlier`` trials were there at the start; ``others`` are studies of other ratings or fixed settings.
    """

    name: Name
    study: str
    done: int
    trials: int | None
    present: float | None
    best: float | None
    earlier: int
    others: int

    @property
    def metric(self) -> str:
        """What trials are judged by."""
        return METRICS[self.name]


@dataclass(frozen=True)
class Found:
    """What a search came to: the settings in use with the best values found, and where each question stands."""

    train: TrainSettings
    standings: tuple[Standing, ...]

    def as_dict(self, present: TrainSettings) -> dict[str, Any]:
        """Return it as plain data, beside the settings in use."""
        tuned = [parameter for name in TUNED for parameter in TUNED[name]]
        return {
            "studies": {s.name: asdict(s) | {"metric": s.metric} for s in self.standings},
            "settings": {p: {"now": getattr(present, p), "tuned": getattr(self.train, p)} for p in tuned},
        }


def tune(
    split: Split, settings: Settings, trainer: Trainer, progress: Callable[[Standing], None] = lambda _: None
) -> Found:
    """Search for better values than those of ``settings.train``, judged by the split's test part.

    The settings in use are tried first, whatever the limits of ``settings.tuning``. Where nobody's stars are held out,
    the ranking alone is asked for, and gets all trials. What was tried is kept in
    ``studies_file``, and gone on with where ratings and fixed settings are the same. Raises `ModelError` where another
    process is at it.
    """
    began = time.monotonic()
    share = 1.0 if split.test.implicit.all() else _RANKING_SHARE
    limits = Limits.of(settings.tuning, share)
    with journal(studies_file(settings)) as storage:
        search = _Searching(split, settings, trainer, storage, progress)
        train, ranking = search("ranking", settings.train, limits.ranking, limits.deadline(began, share))
        if share == 1.0:
            return Found(train, (ranking,))
        train, ratings = search("ratings", train, limits.ratings, limits.deadline(began, 1.0))
    return Found(train, (ranking, ratings))


def studies_file(settings: Settings) -> Path:
    """Return where trials are kept: a journal of Optuna's."""
    return settings.trials / "studies.log"


@dataclass(frozen=True)
class Limits:
    """Trials of each question, and seconds for all; None is no limit."""

    ranking: int | None
    ratings: int | None
    seconds: float | None

    @classmethod
    def of(cls, tuning: TuningSettings, share: float = _RANKING_SHARE) -> "Limits":
        """Share out what the settings allow; a ``share`` of it is for the ranking."""
        trials = _TRIALS if tuning.trials is None and tuning.minutes is None else tuning.trials
        ranking = None if trials is None else round(trials * share)
        return cls(
            ranking=ranking,
            ratings=None if trials is None or ranking is None else trials - ranking,
            seconds=None if tuning.minutes is None else 60 * tuning.minutes,
        )

    def deadline(self, began: float, share: float) -> float | None:
        """Return until when a trial may begin, where all began at ``began``."""
        return None if self.seconds is None else began + share * self.seconds


@dataclass(frozen=True)
class _Searching:
    split: Split
    settings: Settings
    trainer: Trainer
    storage: JournalStorage
    progress: Callable[[Standing], None]

    def __call__(
        self, name: Name, train: TrainSettings, trials: int | None, deadline: float | None
    ) -> tuple[TrainSettings, Standing]:
        """Answer a question; returns ``train`` with the best values, and where its study stands."""
        asked = question(name, self.split, self.settings.model_copy(update={"train": train}), self.trainer)
        others = sum(other.startswith(f"{name}-") and other != asked.name for other in names(self.storage))
        search = Search(self.storage, asked, train.seed)
        earlier = len(search.values)

        def standing() -> Standing:
            best = search.best[1] if search.values else None
            return Standing(name, asked.name, len(search.values), trials, search.present, best, earlier, others)

        self.progress(standing())
        while search.present is None or _goes_on(len(search.values), trials, deadline):
            search.step()
            self.progress(standing())
        values, best = search.best
        if best != search.present:
            train = train.model_copy(update={parameter: _short(value) for parameter, value in values.items()})
        return train, standing()


def _goes_on(done: int, trials: int | None, deadline: float | None) -> bool:
    return (trials is None or done < trials) and (deadline is None or time.monotonic() < deadline)


def _short(value: float) -> float:
    """Return a value with three significant digits: more are no better, and hard to read in a settings file."""
    return value if isinstance(value, int) else float(f"{value:.3g}")
