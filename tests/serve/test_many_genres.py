"""What attributes cost: by what titles have, not attributes times titles."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: What 100,000 genres may take more than 20, in MB.
_MOST_MB = 150


def ran(*arguments: str) -> str:
    """Run in a process of its own, whose memory is its own."""
    command = [sys.executable, "-m", "tests.serve.many_genres", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Homes with a version whose 100,000 titles have few genres, and as many as there are titles."""
    found = {n: tmp_path_factory.mktemp(f"genres{n}") for n in (20, 100_000)}
    for n, home in found.items():
        ran("train", str(home), str(n))
    return found


def memory(home: Path, how: str, n_genres: int) -> float:
    told: dict[str, Any] = json.loads(ran("load", str(home), how, str(n_genres)))
    assert told["fits"], "the list is of the genre that it was asked for"
    return float(told["mb"])


def test_a_version_trained_with_a_genre_a_title_is_served(homes: dict[int, Path]) -> None:
    few, many = (memory(home, "nothing", n) for n, home in homes.items())
    assert many - few < _MOST_MB


@pytest.mark.parametrize("how", ["changed", "new"])
def test_events_that_give_each_title_a_genre_of_its_own_cost_what_titles_have(homes: dict[int, Path], how: str) -> None:
    few, many = (memory(homes[20], how, n) for n in (20, 100_000))
    assert many - few < _MOST_MB
