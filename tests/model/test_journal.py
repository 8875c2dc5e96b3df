"""What was decided about versions: a record that outlasts kills, and tells which promotions took effect."""

from dataclasses import replace
from pathlib import Path

import pytest

from nextreel.errors import ModelError
from nextreel.model.journal import Decision, Deed, append, happened, history, read


def decision(version: str, before: str | None, deed: Deed = "promoted") -> Decision:
    return Decision("2026-03-01T12:00:00+00:00", version, deed, "é because\n", before)


FIRST, SECOND, THIRD = decision("a", None), decision("b", "a"), decision("c", "b", "refused")


def past(*decisions: Decision, current: str | None) -> list[str]:
    return history(happened(list(decisions), current), current)


def test_decisions_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    assert read(path) == []
    for one in (FIRST, SECOND, THIRD):
        append(path, one)
    assert read(path) == [FIRST, SECOND, THIRD]
    assert path.read_bytes().count(b"\n") == 3


def test_a_line_that_was_cut_off_is_none_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    append(path, FIRST)
    whole = path.stat().st_size
    append(path, SECOND)
    written = path.read_bytes()
    for end in range(whole, len(written)):
        path.write_bytes(written[:end])
        assert read(path) == [FIRST]
        append(path, THIRD)
        assert read(path) == [FIRST, THIRD]


@pytest.mark.parametrize("line", ["null", "[]", "{}", "{", '{"version": "a"}', ""])
def test_a_line_of_something_else_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "decisions.jsonl"
    append(path, FIRST)
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(ModelError, match=r"line 2 of .*decisions.jsonl is no decision"):
        read(path)


def test_the_past_is_what_was_promoted() -> None:
    assert past(current=None) == []
    assert past(FIRST, SECOND, THIRD, current="b") == ["a", "b"]
    assert past(FIRST, SECOND, decision("a", "b"), current="a") == ["a", "b", "a"]


def test_what_was_rolled_back_is_no_longer_in_it() -> None:
    back = decision("a", "b", "rolled back")
    assert past(FIRST, SECOND, back, current="a") == ["a"]
    assert past(FIRST, SECOND, back, decision("d", "a"), current="d") == ["a", "d"]
    far_back = decision("a", "d", "rolled back")
    assert past(FIRST, SECOND, decision("d", "b"), far_back, current="a") == ["a"]


def test_promotions_and_rollbacks_that_were_cut_short_are_not_in_it() -> None:
    assert past(FIRST, current=None) == []
    assert past(FIRST, SECOND, current="a") == ["a"]
    again = replace(SECOND, at="2026-03-01T13:00:00+00:00")
    assert happened([FIRST, SECOND, again], "b") == [FIRST, again]
    assert past(FIRST, SECOND, again, current="b") == ["a", "b"]
    assert past(FIRST, SECOND, decision("d", "a"), current="d") == ["a", "d"]
    assert past(FIRST, SECOND, decision("a", "b", "rolled back"), current="b") == ["a", "b"]
    assert happened([FIRST, SECOND, THIRD], "a") == [FIRST, THIRD]


def test_a_current_that_nobody_recorded_counts_from_then_on() -> None:
    assert past(current="old") == ["old"]
    assert past(decision("a", "old"), current="a") == ["old", "a"]
    assert past(FIRST, current="by hand") == ["a", "by hand"]
    assert past(FIRST, decision("b", "by hand"), current="b") == ["a", "by hand", "b"]
