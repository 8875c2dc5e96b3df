"""``nextreel produce``: a world that memory does not hold is refused before it is made."""

import numpy as np
import pytest
from click.testing import CliRunner

from nextreel.cli import main
from nextreel.cli.kafka import _TITLES
from nextreel.events.world import casting, names


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--movies", "1000000000", "1<=x<=500000"),
        ("--movies", "0", "1<=x<=500000"),
        ("--series", "500001", "1<=x<=500000"),
        ("--users", "5000001", "1<=x<=5000000"),
        ("--interactions", "-1", "0<=x<=1000000000"),
        ("--seed", "-1", "0<=x<=9223372036854775807"),
    ],
)
def test_a_world_that_cannot_be(option: str, value: str, allowed: str) -> None:
    found = CliRunner().invoke(main, ["produce", "movies", option, value])
    assert found.exit_code == 2
    assert f"Invalid value for '{option}': {value} is not in the range {allowed}." in found.stderr


def test_the_most_titles_have_names_for_all_their_people() -> None:
    most = int(_TITLES.max or 0)
    n_people = sum(casting.numbers(2 * most))  # movies and series
    assert len(names.people(np.random.default_rng(7), n_people)) == n_people
