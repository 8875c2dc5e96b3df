"""Interactions of titles, or by users, that no event describes: counted, said, and no ground for a promotion."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.train.lakes import N_TITLES, N_USERS, deed, put, title, user

from nextreel.cli import main
from nextreel.five_vs import five_vs
from nextreel.lake.layout import Lake
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path)}, {})


def run(home: Settings, *arguments: str) -> Result:
    settings = {"home": str(home.home), "train.factors": "6", "versions.min_users": "2", "evaluation.resamples": "100"}
    return CliRunner().invoke(main, [*(f"--set={name}={value}" for name, value in settings.items()), *arguments])


def fill(home: Settings, n_described: int, suffix: str) -> int:
    """Put interactions of all users and titles; events describe users 0 to 9, and some titles.

    Ids of interactions end in ``suffix``, as where 862 has become 862.0. Returns the number of interactions.
    """
    rng = np.random.default_rng(9)
    pairs = [(u, t) for u in range(N_USERS) for t in range(N_TITLES) if rng.random() < 0.5]
    rated: list[dict[str, Any]] = [deed(u, t, 5.0 if u % 3 == t % 3 else 2.0) for u, t in pairs]
    for row in rated:
        row["id_contenido"] += suffix
    put(
        Lake(home.lake),
        0,
        users=[user(n, None) for n in range(10)],
        movies=[title(n, None) for n in range(n_described)],
        interactions=rated,
    )
    return len(rated)


@pytest.mark.usefixtures("kept_spark")
def test_where_nothing_overlaps_it_is_said_and_nothing_becomes_current(home: Settings) -> None:
    n = fill(home, N_TITLES, ".0")
    said = f"none of {n} interactions are of titles that a movie or series event describes"
    trained = run(home, "train", "--json")
    assert trained.exit_code == 3, trained.output
    assert trained.stderr.count(said) == 2  # as a fact, and as why it did not become current
    facts = json.loads(trained.stdout)
    counts = facts["data"]["undescribed"]
    assert (counts["interactions"], counts["of_titles"], counts["titles"]) == (n, n, N_TITLES)
    assert facts["promotion"]["promoted"] is False
    assert ModelStore(home.models).current() is None
    evaluated = run(home, "evaluate")
    assert evaluated.exit_code == 1
    assert said in evaluated.stderr
    shown = {figure.name: figure.value for figure in five_vs(home)["veracity"]}
    assert shown["interactions of titles that no event describes"] == n
    assert shown["interactions by users that no event describes"] == counts["by_users"] > 0
    assert "none of" in run(home, "status").stdout


@pytest.mark.usefixtures("kept_spark")
def test_what_can_be_recommended_is_what_a_model_is_judged_on(home: Settings) -> None:
    n = fill(home, N_TITLES // 2, "")
    found = run(home, "evaluate", "--json", "--k", "20")
    assert found.exit_code == 0, found.output
    judged = json.loads(found.stdout)
    counts = judged["undescribed"]
    assert 0 < counts["of_titles"] < n
    assert f"{n - counts['of_titles']} of {n} interactions are of titles that a movie or series event" in found.stderr
    assert judged["n_train"] + judged["n_test"] == n
    for who in ("als", "popularity", "bias", "random"):
        assert judged["ranking"][who]["coverage"] == 1.0  # lists of 20, of the twelve titles that events describe
    trained = run(home, "train")
    assert trained.exit_code in (0, 3)
    assert "are of titles that a movie or series event describes" in trained.stderr
