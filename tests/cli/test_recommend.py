"""``nextreel recommend``: what it prints is the model's own order, for whoever is known and whoever is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.serve.living import GENRES, live

from nextreel.cli import main
from nextreel.model.store import ModelStore
from nextreel.serve.live import Live


@pytest.fixture(scope="module")
def trained() -> Live:
    return live()


@pytest.fixture
def home(tmp_path: Path, trained: Live) -> Path:
    store = ModelStore(tmp_path / "models")
    store.promote(store.save(trained.model, {}, snapshot=trained.snapshot))
    return tmp_path


def asked(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--set", f"home={home}", "recommend", *arguments])


def answered(home: Path, *arguments: str) -> Any:
    found = asked(home, "--json", *arguments)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_user_gets_the_best_titles_that_they_have_not_seen(home: Path, trained: Live) -> None:
    found = answered(home, "u10", "--count", "5")
    factors, row = trained.model.ranking_factors, 10
    scores = factors.titles @ factors.users[row]
    history = trained.snapshot.history
    scores[history.titles[history.start[row] : history.start[row + 1]]] = -np.inf
    best = [trained.model.title_ids[int(n)].as_py() for n in np.argsort(-scores, kind="stable")[:5]]
    assert [item["content_id"] for item in found["items"]] == best
    assert (found["strategy"], found["known"]) == ("personal", True)
    with_seen = answered(home, "u10", "--count", "40", "--include-seen")
    assert len(with_seen["items"]) == 40


def test_titles_may_be_chosen(home: Path) -> None:
    series = answered(home, "u10", "--type", "series", "--genre", GENRES[0], "--genre", GENRES[1])["items"]
    assert series
    assert all(item["type"] == "series" and {*item["genres"]} & {*GENRES[:2]} for item in series)


def test_whoever_is_not_known_gets_what_is_popular(home: Path, trained: Live) -> None:
    found = answered(home, "nobody", "--count", "3")
    popular = np.argsort(-trained.model.popularity, kind="stable")[:3]
    assert [item["content_id"] for item in found["items"]] == [trained.model.title_ids[int(n)].as_py() for n in popular]
    assert (found["strategy"], found["known"]) == ("popular", False)
    said = asked(home, "no\x1b[31mbody").stdout
    assert "what is popular, since nothing is known of no\\x1b[31mbody's taste" in said


def test_the_table_says_why(home: Path) -> None:
    found = asked(home, "u10", "--count", "3", "--explain")
    assert found.exit_code == 0, found.output
    items = answered(home, "u10", "--count", "3", "--explain")["items"]
    for item in items:
        assert item["title"] in found.stdout
        assert f"{item['predicted_rating']:.2f}" in found.stdout
        assert item["reason"]["because_of"][0]["title"] in found.stdout
    assert found.stdout.count("because of") == 3
    assert "by what u10 rated and did" in found.stdout


def test_nothing_left_is_said(home: Path) -> None:
    assert "no title is left to recommend" in asked(home, "u10", "--genre", "Noir").stdout


def test_without_a_model_it_says_what_makes_one(tmp_path: Path) -> None:
    found = asked(tmp_path, "u10")
    assert (found.exit_code, "`nextreel train` makes one" in found.stderr) == (1, True)
