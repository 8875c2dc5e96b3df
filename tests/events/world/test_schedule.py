import numpy as np
import pytest
from numpy.typing import NDArray

from nextreel.events.world.schedule import SITTINGS, Schedule

ACTIVITY = np.array([0.5, 0.02, 0.3, 0.0004, 0.1796])


def numbered(schedule: Schedule, n_blocks: int) -> list[NDArray[np.int64]]:
    """Return the numbers of each user's sittings in the first blocks, block by block."""
    numbers: list[list[int]] = [[] for _ in ACTIVITY]
    for block in range(n_blocks):
        for user, number in zip(*schedule.sittings(block), strict=True):
            numbers[user].append(number)
    return [np.array(of_user) for of_user in numbers]


@pytest.mark.parametrize("cohorts", [[(0, 5)], [(0, 1), (3, 2), (4, 5)], [(0, 3), (0, 5)]])
def test_every_sitting_of_a_user_has_the_next_number(cohorts: list[tuple[int, int]]) -> None:
    for of_user in numbered(Schedule(ACTIVITY, cohorts), 13):
        assert of_user.tolist() == list(range(of_user.size))


def test_the_active_come_more_often_in_just_their_proportion() -> None:
    counts = [of_user.size for of_user in numbered(Schedule(ACTIVITY, [(0, 5)]), 8)]
    assert counts == pytest.approx(8 * SITTINGS * ACTIVITY, abs=1)


def test_nobody_comes_before_their_cohort() -> None:
    schedule = Schedule(ACTIVITY, [(0, 2), (3, 5)])
    assert set(schedule.sittings(2)[0]) == {0, 1}
    assert schedule.sittings(3)[0].max() == 4


def test_a_far_block_is_as_good_as_a_near_one() -> None:
    user, number = Schedule(ACTIVITY, [(0, 5)]).sittings(10**9)
    _, later = Schedule(ACTIVITY, [(0, 5)]).sittings(10**9 + 1)
    assert number[user == 2][0] == pytest.approx(10**9 * SITTINGS * 0.3, abs=10)
    assert later.max() - number.max() == pytest.approx(SITTINGS * 0.5, abs=2)
