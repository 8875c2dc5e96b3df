"""``nextreel models``: what it prints, as text and as JSON, and that it changes what it says."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.model.test_store import model
from tests.train.test_promote import facts

from nextreel.cli import main
from nextreel.locks import in_use
from nextreel.model.store import ModelStore
from nextreel.settings import VersionsSettings
from nextreel.train.promote import promote_if_good

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B, C, D = (f"20260301T12000{i}-000" for i in range(4))

posix = pytest.mark.skipif(os.name == "nt", reason="there are no file locks")


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--set", f"home={home}", "models", *arguments])


def found(home: Path, *arguments: str) -> Any:
    result = run(home, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Two good versions, one that is refused, and one about which nothing was decided."""
    store = ModelStore(tmp_path / "models")
    for i, judged in enumerate((facts(), facts(0.27), facts(0.1), facts(None, None, None, None, 0))):
        told = judged | {"version": f"20260301T12000{i}-000", "data": {"ratings": 1000 * (i + 1)}}
        version = store.save(model(i + 1), told | {"kafka_offsets": {"t": {"0": 7}}}, NOON + timedelta(seconds=i))
        if i < 3:
            promote_if_good(store, version, VersionsSettings())
    return store


def test_versions_are_listed_with_figures_baselines_and_decisions(store: ModelStore, tmp_path: Path) -> None:
    text = " ".join(run(tmp_path, "list").stdout.split())
    for told in (A, B, C, D, "0.270 (0.130)", "0.870 (0.880)", "1,000", "2026-03-01 12:00", "unknown"):
        assert told in text
    assert f"{C} refused: nDCG@10 0.100 is not above popularity's, 0.130; nDCG@10 0.100 is below that of {B}" in text
    assert run(tmp_path).stdout == run(tmp_path, "list").stdout
    assert run(tmp_path, "--json").stdout == run(tmp_path, "list", "--json").stdout
    rows = {row["version"]: row for row in found(tmp_path, "list")}
    assert list(rows) == [D, C, B, A]
    assert {v: row["current"] for v, row in rows.items()} == {A: False, B: True, C: False, D: False}
    assert [rows[v]["standing"] for v in (A, B, C, D)] == ["was current", "current", "refused", "undecided"]
    assert rows[B]["why"] == "nDCG@10 0.270, popularity's 0.130"
    assert [rows[D][name] for name in ("ndcg", "decided_at", "why")] == [None, None, None]
    shown = {name: rows[B][name] for name in ("ratings", "ndcg", "popularity_ndcg", "rmse", "bias_rmse", "simulated")}
    assert shown == {
        "ratings": 2000,
        "ndcg": 0.27,
        "popularity_ndcg": 0.13,
        "rmse": 0.87,
        "bias_rmse": 0.88,
        "simulated": False,
    }
    assert datetime.fromisoformat(rows[C]["decided_at"]) == datetime.fromisoformat(store.decisions()[-1].at)


def test_a_damaged_version_is_listed_as_such(store: ModelStore, tmp_path: Path) -> None:
    (store.root / A / "model.json").write_text("{")
    (store.root / C / "model.json").unlink()
    rows = {row["version"]: row for row in found(tmp_path, "list")}
    for version in (A, C):
        assert rows[version]["standing"] == "damaged"
        assert "cannot be read" in rows[version]["why"]
        assert (rows[version]["ndcg"], rows[version]["created_at"]) == (None, None)
    assert "cannot be read" in " ".join(run(tmp_path, "list").stdout.split())


def test_a_version_is_shown_with_all_that_is_known_of_it(store: ModelStore, tmp_path: Path) -> None:
    shown = found(tmp_path, "show", C)
    decisions = shown.pop("decisions")
    assert shown == store.facts(C) | {"current": False}
    assert [(d["deed"], d["before"]) for d in decisions] == [("refused", B)]
    assert found(tmp_path, "show") == found(tmp_path, "show", B)
    text = " ".join(run(tmp_path, "show", D).stdout.split())
    for line in ("kafka_offsets.t.0 7", "evaluation.ranking.als.ndcg unknown", "data.ratings 4000", "current False"):
        assert line in text
    assert "decisions.0.deed promoted" in " ".join(run(tmp_path, "show").stdout.split())


@pytest.mark.parametrize("command", ["show", "promote"])
@pytest.mark.parametrize("version", ["20260101T000000-000", "../models", "current"])
def test_a_version_that_is_not_there_is_told_with_those_that_are(
    store: ModelStore, tmp_path: Path, command: str, version: str
) -> None:
    result = run(tmp_path, command, version)
    assert result.exit_code == 1
    assert f"no model version {version!r}" in result.stderr
    assert f"there are {A}, {B}, {C}, {D}" in result.stderr


def test_a_refused_version_can_be_promoted_all_the_same_and_rolled_back(store: ModelStore, tmp_path: Path) -> None:
    assert run(tmp_path, "promote", C).stdout == f"{C} is current; before it {B} was\n"
    assert run(tmp_path, "promote", C).stdout == f"{C} is current, as before\n"
    rows = {row["version"]: row["why"] for row in found(tmp_path, "list")}
    assert rows[C] == "asked for by nextreel models promote"
    assert found(tmp_path, "rollback") == {"current": B, "before": C}
    rows = {row["version"]: row["why"] for row in found(tmp_path, "list")}
    assert rows[B] == f"rolled back from {C}"
    assert run(tmp_path, "rollback").stdout == f"{A} is current; before it {B} was\n"
    result = run(tmp_path, "rollback")
    assert (result.exit_code, store.current()) == (1, A)
    assert "knows of no version that was current before" in result.stderr


@posix
def test_old_versions_are_removed(store: ModelStore, tmp_path: Path) -> None:
    assert run(tmp_path, "prune").stdout == "nothing to remove\n"
    (store.root / ".20260101T000000-000.4711").mkdir()
    store.promote(C)
    with in_use(store.root / A / "model.json"):
        assert run(tmp_path, "prune", "--keep", "1").stdout == (
            f".20260101T000000-000.4711 was removed: an interrupted process had left it\n{A} is being read, and stays\n"
        )
    assert found(tmp_path, "prune", "--keep", "1") == {"removed": [A], "leftovers": [], "in_use": []}
    assert store.versions() == [B, C, D]
    assert run(tmp_path, "prune", "--keep", "0").exit_code == 2


def test_where_nothing_is_there_nothing_is_made(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "no model in" in run(home, "list").stdout
    assert found(home, "list") == []
    for command in (["show"], ["rollback"], ["promote", A]):
        assert run(home, *command).exit_code == 1
    assert run(home, "prune").exit_code == (1 if os.name == "nt" else 0)
    assert not home.exists()
