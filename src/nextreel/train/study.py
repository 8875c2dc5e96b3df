"""Optuna's part of tuning: studies that outlast the process, and trials one after the other."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from nextreel.errors import ModelError
from nextreel.locks import HAS_LOCKS, unused

#: Values of parameters, by name.
Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Question:
    """Which values within ``space`` are best, judged by ``judge``; ``name`` is of no other question.

    ``present`` are the values that are in use, and ``best`` is the higher where ``maximize``, else the lower.
    """

    name: str
    space: Mapping[str, BaseDistribution]
    present: Parameters
    maximize: bool
    judge: Callable[[Parameters], float]


@contextmanager
def journal(file: Path) -> Iterator[JournalStorage]:
    """Give the studies in a file, made where there is none, to this process alone; they are written trial by trial.

    Raises `ModelError` where another process has them, or the file is none of Optuna's.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with unused(file) as alone, _silence():
        if HAS_LOCKS and not alone:
            raise ModelError(f"another process is tuning, and writes to {file}: wait for it, or end it")
        try:
            _mend(file)
            storage = JournalStorage(JournalFileBackend(str(file), _Held(str(file)) if HAS_LOCKS else None))
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            raise ModelError(f"{file} is no journal of Optuna's ({error}): move it away to begin anew") from None
        yield storage


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Optuna from telling of each trial by itself."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class Search:
    """A question's study: what has been tried, and what to try next.

    What is tried after n trials depends on these and ``seed`` alone, so that a study that was interrupted goes on as it
    would have. Trials that were running when their process ended count for nothing.
    """

    def __init__(self, storage: JournalStorage, question: Question, seed: int):
        self._question, self._seed = question, seed
        self._study = optuna.create_study(
            storage=storage,
            study_name=question.name,
            direction="maximize" if question.maximize else "minimize",
            load_if_exists=True,
        )
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)

    @property
    def values(self) -> list[float]:
        """What trials came to, the first one first."""
        return [_value(trial) for trial in self._trials()]

    @property
    def best(self) -> tuple[Parameters, float]:
        """The best values tried, the first of them where there are several, and what they came to."""
        better = max if self._question.maximize else min
        found = better(self._trials(), key=_value)
        return found.params, _value(found)

    @property
    def present(self) -> float | None:
        """What the values in use came to; None where they were not tried."""
        return next((_value(trial) for trial in self._trials() if trial.params == self._question.present), None)

    def step(self) -> None:
        """Try the values in use if they have not been tried, else what the sampler thinks best."""
        if self.present is None:
            present, space = dict(self._question.present), dict(self._question.space)
            value = self._worst_if_none(self._question.judge(present))
            self._study.add_trial(optuna.create_trial(params=present, distributions=space, value=value))
            return
        seeds = np.random.SeedSequence([self._seed, len(self._trials())])
        self._study.sampler = optuna.samplers.TPESampler(seed=int(seeds.generate_state(1)[0]))
        trial = self._study.ask(dict(self._question.space))
        try:
            value = self._question.judge(trial.params)
        except ModelError:  # the training has diverged
            value = nan
        self._study.tell(trial, self._worst_if_none(value))

    def _worst_if_none(self, value: float) -> float:
        """Return a value, the worst there is in place of NaN, of which Optuna does not learn."""
        return (-inf if self._question.maximize else inf) if isnan(value) else value

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def names(storage: JournalStorage) -> list[str]:
    """Return the names of all studies."""
    return optuna.get_all_study_names(storage)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None  # noqa: S101 (it is complete)
    return trial.value


class _Held(JournalFileOpenLock):
    """The lock that Optuna takes for each line: its own would outlive a process that was killed, ours is held."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _mend(file: Path) -> None:
    """Cut off what a kill has left of a line. Raises `ValueError` where lines are no JSON.

    Optuna overlooks both in a last line, and takes them for damage once another one follows.
    """
    *lines, rest = file.read_bytes().split(b"\n")
    for line in lines:
        json.loads(line)
    if rest:
        os.truncate(file, file.stat().st_size - len(rest))
