"""What a search judges by, so that what evaluation holds out is left for the last word."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from nextreel.errors import ModelError
from nextreel.ratings.sources import SOURCES
from nextreel.settings import Settings
from nextreel.train.dataset import Dataset
from nextreel.train.evaluate import relevant_ratings
from nextreel.train.splits import Simulate, Split, split


@dataclass(frozen=True)
class Parts:
    """Ratings held out twice: ``test`` as evaluation does, ``validation`` in the same way from what that leaves.

    The test ratings are in neither part of ``validation``, and nothing there depends on them.
    """

    validation: Split
    test: Split


def parts(data: Dataset, users: pa.Table, simulate: Simulate, settings: Settings) -> Parts:
    """Hold ratings out twice, as ``settings.evaluation`` says; ``users`` are those who can get simulated ones.

    Raises `ModelError` where there is nothing to judge by, or nothing to learn from.
    """
    test = split(data, users, simulate, settings)
    _require(test, "to judge by in the end")
    validation = split(test.train, users, simulate, _within(settings, test))
    _require(validation, "to judge trials by")
    kinds = [SOURCES[part.test.source[0]] for part in (validation, test)]
    if kinds[0] != kinds[1]:
        raise ModelError(f"all {kinds[1]} ratings are held out to judge by in the end: none is left to judge trials by")
    if not relevant_ratings(validation.test, settings).any():
        raise ModelError(
            f"of the ratings held out to judge trials by, {validation.held_out}, none is to be found: for that it must "
            f"be train.relevant_rating = {settings.train.relevant_rating:g} or more, or stand for what somebody liked"
        )
    return Parts(validation, test)


def _within(settings: Settings, test: Split) -> Settings:
    """Return the settings by which to hold out within what is left, as much of it as of the whole.

    Chance draws anew there, and a date, after which nothing is left, becomes the share that lay before it.
    """
    train = settings.train.model_copy(update={"seed": (settings.train.seed + 1) % 2**31})
    evaluation = settings.evaluation
    if isinstance(evaluation.since, datetime):
        left = int(np.count_nonzero(test.train.source == test.test.source[0]))
        evaluation = evaluation.model_copy(update={"since": left / (left + len(test.test))})
    return settings.model_copy(update={"train": train, "evaluation": evaluation})


def _require(found: Split, purpose: str) -> None:
    if len(found.test) == 0 or len(found.train) == 0:
        raise ModelError(
            f"of {len(found.train) + len(found.test):,} ratings, {found.held_out}, are {len(found.test):,}: there must "
            f"be some {purpose}, and some to learn from"
        )
