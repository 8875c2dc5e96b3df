"""When it is time to train again."""

import pytest

from nextreel.settings import Settings
from nextreel.train.continuous import unseen_messages, why_train


@pytest.mark.parametrize(
    ("new_messages", "seconds", "is_first", "why"),
    [
        (0, 9_999.0, True, None),
        (1, 0.0, True, "1 messages, and no model yet"),
        (999, 59.0, False, None),
        (1_000, 0.4, False, "1,000 messages that the current model has not seen"),
        (1, 60.0, False, "1 messages that the current model has not seen"),
        (0, 60.0, False, None),
    ],
)
def test_it_is_told_why_it_is_time(
    settings: Settings, new_messages: int, seconds: float, is_first: bool, why: str | None
) -> None:
    up = settings.up.model_copy(update={"train_after_events": 1_000, "train_every_seconds": 60.0})
    given = settings.model_copy(update={"up": up})
    assert why_train(given, new_messages, seconds, is_first) == why


def test_no_number_of_events_is_enough_where_it_is_zero(settings: Settings) -> None:
    up = settings.up.model_copy(update={"train_after_events": 0, "train_every_seconds": 60.0})
    given = settings.model_copy(update={"up": up})
    assert why_train(given, 10**9, 59.0, False) is None


def test_messages_are_unseen_by_partition() -> None:
    """A topic that was made again, and partitions that are gone, do not hide what is new elsewhere."""
    held = {"t": {"0": 5, "1": 7}, "new": {"0": 2}}
    assert unseen_messages(held, {}) == 14
    assert unseen_messages(held, {"t": {"0": 3, "1": 900}, "gone": {"0": 50}}) == 2 + 2
    assert unseen_messages(held, held) == 0
