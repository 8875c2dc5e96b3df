"""``nextreel tune``: what it refuses, what it prints, and from a lake to a settings file, interrupted on the way."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.cli.test_evaluate import staged
from tests.train.tuning import TRAINER, in_parts, ratings, settings

from nextreel.cli import main
from nextreel.cli.tune import show
from nextreel.events.world import World, WorldConfig
from nextreel.lake.commit import commit
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.train.compare import compare


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "1"], "1 is not in the range x>=2"),
        (["--trials", "many"], "'many' is not a valid integer"),
        (["--minutes", "0"], "0.0 is not in the range x>0"),
        (["--output", "."], "is a directory"),
        (["--output", "mine.toml"], "mine.toml is there already: --force replaces it"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_anything_starts(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("mine")
    found = CliRunner().invoke(main, ["tune", *arguments])
    assert (found.exit_code, message in found.output) == (2, True), found.output
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_what_was_found_before_is_not_replaced_either(tmp_path: Path) -> None:
    file = tmp_path / "tuning" / "nextreel.toml"
    file.parent.mkdir()
    file.write_text("found")
    found = CliRunner().invoke(main, ["--set", f"home={tmp_path}", "tune"])
    assert (found.exit_code, file.read_text()) == (2, "found")
    assert f"{file} is there already" in found.stderr


@pytest.mark.parametrize("section", ["tuning.trials=1", "tuning.minutes=0", "tuning.max_factors=0"])
def test_wrong_settings_are_refused(section: str) -> None:
    found = CliRunner().invoke(main, ["--set", section, "tune"])
    assert (found.exit_code, section.split("=")[0] in found.stderr) == (2, True)


def test_without_optuna_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    found = CliRunner().invoke(main, ["tune"])
    assert (found.exit_code, "pip install 'nextreel[tune]'" in found.stderr) == (1, True)


def test_other_commands_do_not_wait_for_optuna() -> None:
    code = "import sys, nextreel.cli, nextreel.train.job; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_table_has_both_settings_and_how_they_do(tmp_path: Path) -> None:
    given = settings(tmp_path)
    tuned = settings(tmp_path, train__alpha=7.25, train__neutral_rating=2, train__regularization=0.15).train
    test = in_parts(ratings(), given).test
    found = compare(TRAINER.fit(test.train, given.train), TRAINER.fit(test.train, tuned), test, given)
    console = Console(width=100, record=True, file=StringIO())
    show(console, given.train, tuned, found)
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "…" not in text, "nothing is cut"
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "alpha 3 7.25" in lines
    assert "damping 200 200" in lines
    for metric in ("ndcg", "rmse"):
        group = "ranking" if metric == "ndcg" else "accuracy"
        for who in ("now", "tuned"):
            low, high = found.quality.intervals[group][who][metric]
            assert f"{getattr(getattr(found.quality, group)[who], metric):.3f} {low:.3f}-{high:.3f}" in text
    assert f"nDCG@10 {found.ndcg.verdict}, {found.ndcg.value:+.4f}" in text
    assert "a random 20%" in " ".join(lines)


def test_what_found_nothing_shows_the_present_settings_alone(tmp_path: Path) -> None:
    given = settings(tmp_path)
    test = in_parts(ratings(), given).test
    model = TRAINER.fit(test.train, given.train)
    console = Console(width=100, record=True, file=StringIO())
    show(console, given.train, given.train, compare(model, model, test, given))
    text = console.export_text()
    assert "alpha 3" in [" ".join(line.split()) for line in text.splitlines()]
    assert "uned" not in text
    assert "Learned anew from" in text


def interrupt_when_written(process: "subprocess.Popen[str]", file: Path, lines: int) -> tuple[str, str]:
    try:
        while process.poll() is None and not (file.exists() and file.read_text().count("\n") >= lines):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        return process.communicate()
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.usefixtures("kept_spark")
def test_from_a_lake_to_a_settings_file(tmp_path: Path) -> None:
    environment, pipe = {"NEXTREEL_HOME": str(tmp_path), "NEXTREEL_TRAIN_FACTORS": "4"}, subprocess.PIPE
    lake = Lake(tmp_path / "lake")
    world = World(WorldConfig(n_users=150, n_movies=60, n_series=30, n_interactions=6000))
    commit(
        lake, "query", 0, list(staged(lake, world)), {"t": {"0": 6240}}, Intake({"t": {"0": 0}}, {"t": {"0": 6240}}, 9)
    )
    studies, file = tmp_path / "tuning" / "studies.log", tmp_path / "tuning" / "nextreel.toml"
    command = [sys.executable, "-m", "nextreel", "tune", "--trials", "9000"]
    with subprocess.Popen(command, env=os.environ | environment, stdout=pipe, stderr=pipe, text=True) as process:
        out, error = interrupt_when_written(process, studies, lines=60)
    assert (process.returncode, out) == (130, ""), error
    assert f"what was tried is kept in {studies}: the same command goes on" in error
    assert not file.exists()

    again = CliRunner().invoke(main, ["tune", "--minutes", "1e-6", "--force", "--json"], env=environment)
    assert again.exit_code in (0, 3), again.output
    found = json.loads(again.stdout)
    ranking = found["studies"]["ranking"]
    assert f"ranking: goes on from {ranking['earlier']} trials of an earlier run" in again.stderr
    assert ranking["done"] == ranking["earlier"] > 3
    assert found["studies"]["ratings"]["done"] == 1
    assert found["comparison"]["better"] == (again.exit_code == 0)
    assert found["comparison"]["n_test"] > 100
    assert (found["file"], found["settings"]["factors"]["now"]) == (str(file), 4)
    assert found["settings"].keys() <= tomllib.loads(file.read_text())["train"].keys()
    read = CliRunner().invoke(main, ["--config", str(file), "settings"], env={"NEXTREEL_HOME": None})
    given = json.loads(read.stdout)
    assert {name: given["train"][name] for name in found["settings"]} == {
        name: values["tuned"] for name, values in found["settings"].items()
    }
    assert (given["home"], given["tuning"]["minutes"]) == (str(tmp_path), None)
    assert not (tmp_path / "models").exists()
