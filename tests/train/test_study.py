"""Studies on disk: gone on with after any interruption, in one process at a time."""

import os
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution

from nextreel.errors import ModelError
from nextreel.train.study import Parameters, Question, Search, journal, names

SPACE = {"x": FloatDistribution(-10, 10), "y": FloatDistribution(0.01, 100, log=True)}


def bowl(values: Parameters) -> float:
    return (values["x"] - 3) ** 2 + (values["y"] - 1) ** 2


def question(judge: Callable[[Parameters], float] = bowl, name: str = "bowl", maximize: bool = False) -> Question:
    return Question(name, SPACE, {"x": -5.0, "y": 50.0}, maximize, judge)


def searched(file: Path, steps: int, asked: Question | None = None) -> Search:
    with journal(file) as storage:
        search = Search(storage, asked or question(), seed=1)
        for _ in range(steps):
            search.step()
        return search


@pytest.mark.parametrize("sign", [1, -1], ids=["least", "most"])
def test_the_best_is_found(tmp_path: Path, sign: int) -> None:
    search = searched(tmp_path / "log", 60, question(lambda v: sign * bowl(v), maximize=sign < 0))
    values, best = search.best
    assert sign * best == bowl(values) < 8
    assert search.present == search.values[0] == sign * bowl({"x": -5.0, "y": 50.0})
    assert len(search.values) == 60


def test_nothing_was_tried(tmp_path: Path) -> None:
    search = searched(tmp_path / "new" / "log", 0)
    assert (search.values, search.present) == ([], None)


def test_each_trial_is_kept_at_once(tmp_path: Path) -> None:
    file, seen = tmp_path / "log", []

    def look(values: Parameters) -> float:
        (tmp_path / "copy").write_bytes(file.read_bytes())
        seen.append(len(searched(tmp_path / "copy", 0).values))
        return bowl(values)

    searched(file, 12, question(look))
    assert seen == list(range(12))


def test_what_diverges_is_the_worst(tmp_path: Path) -> None:
    answers: Iterator[float | ModelError] = iter([1.0, nan, ModelError("the training diverged"), 2.0])

    def judge(_: Parameters) -> float:
        answer = next(answers)
        if isinstance(answer, ModelError):
            raise answer
        return answer

    worst = [1.0, -inf, -inf, 2.0]
    assert searched(tmp_path / "log", 4, question(judge, maximize=True)).values == worst
    assert searched(tmp_path / "log", 20, question(maximize=True)).values[:4] == worst


def test_where_the_present_values_cannot_be_judged_nothing_can(tmp_path: Path) -> None:
    def judge(_: Parameters) -> float:
        raise ModelError("there is nothing to learn from")

    with pytest.raises(ModelError, match="nothing to learn from"):
        searched(tmp_path / "log", 1, question(judge))


def test_studies_have_a_file_together(tmp_path: Path) -> None:
    file = tmp_path / "log"
    one, other = searched(file, 3, question(name="one")), searched(file, 5, question(name="other"))
    assert one.values == other.values[:3]
    with journal(file) as storage:
        assert sorted(names(storage)) == ["one", "other"]


def test_cut_off_anywhere_it_goes_on(tmp_path: Path) -> None:
    """As after a power failure: the file ends somewhere, in the middle of a line too."""
    whole = searched(tmp_path / "whole", 14).values
    text = (tmp_path / "whole").read_bytes()
    for end in range(0, len(text) + 1, len(text) // 13):
        file = tmp_path / "cut"
        file.write_bytes(text[:end])
        left = searched(file, 0).values
        assert left == whole[: len(left)]
        assert searched(file, len(whole) - len(left)).values == whole


@pytest.mark.parametrize("text", ["no journal\n", "[1]\n", '{"op_code":99}\n'], ids=repr)
def test_what_is_no_journal_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "log"
    file.write_text(text)
    with pytest.raises(ModelError, match="move it away"), journal(file):
        pass
    assert file.read_text() == text


@pytest.mark.skipif(os.name == "nt", reason="there are no file locks")
def test_two_at_once_are_refused(tmp_path: Path) -> None:
    refused = pytest.raises(ModelError, match="another process is tuning")
    with journal(tmp_path / "log"), refused, journal(tmp_path / "log"):
        pass
    searched(tmp_path / "log", 1)


def test_optuna_says_nothing_and_is_left_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    searched(tmp_path / "log", 12)
    assert capsys.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before
