"""What was sent again is known for ever, by place and by what was sent; a kill cuts off a line at the most."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nextreel.errors import LakeError
from nextreel.lake.layout import Lake
from nextreel.lake.place import Place
from nextreel.lake.replays import Replays, replay_log, replayed_at

FIRST, SECOND = Place("u", 1, 5), Place("u", 0, 5)


def test_nothing_was_sent(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with replay_log(lake) as log:
        log.add([])
    replays = Replays(lake)
    assert not replays
    assert not replays.has("u", 1, 5)
    assert replayed_at(lake, FIRST) == []
    assert not lake.replays.exists()


def test_what_was_sent_is_known(tmp_path: Path) -> None:
    lake, before = Lake(tmp_path), datetime.now(UTC)
    for value in (b"\xff", b"edited"):
        with replay_log(lake) as log:
            log.add([(FIRST, "u", value)])
            assert Replays(lake).has_sent(FIRST, "u", value)  # at once, not when the run is over
            log.add([(SECOND, "m", None)])
    assert len(list(lake.replays.glob("*.jsonl"))) == 2
    replays = Replays(lake)
    assert replays
    assert [replays.has("u", 1, 5), replays.has("u", 0, 5), replays.has("u", 1, 6), replays.has("m", 0, 5)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [replays.has_sent(FIRST, "u", v) for v in (b"\xff", b"edited", b"other", None, b"")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert not replays.has_sent(FIRST, "m", b"edited")
    assert [replays.has_sent(SECOND, "m", v) for v in (None, b"")] == [True, False]
    times = replayed_at(lake, FIRST)
    assert len(times) == 2
    assert before <= times[0] < times[1] <= datetime.now(UTC)


def test_a_line_that_was_cut_off_counts_as_not_written(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with replay_log(lake) as log:
        log.add([(FIRST, "u", b"a"), (SECOND, "u", b"b")])
    (file,) = lake.replays.iterdir()
    whole = file.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for cut in range(1, len(last) + 1):
        file.write_bytes(whole[:-cut])
        assert Replays(lake).has("u", 1, 5)
        assert not Replays(lake).has("u", 0, 5)


@pytest.mark.parametrize(
    "line", ["{", "[]", "null", '{"place": "u", "topic": "u", "sha256": null, "at": "2026-01-01"}', "{}"]
)
def test_a_record_that_is_none(tmp_path: Path, line: str) -> None:
    lake = Lake(tmp_path)
    lake.replays.mkdir(parents=True)
    (lake.replays / "a.jsonl").write_text(line + "\n")
    with pytest.raises(LakeError, match=r"line 1 of .*a\.jsonl is no record of a replay"):
        Replays(lake)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_one_at_a_time(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    code = "import sys, pathlib; from nextreel.lake import layout, replays\n"
    code += "with replays.replay_log(layout.Lake(pathlib.Path(sys.argv[1]))): pass"
    with replay_log(lake):
        with pytest.raises(LakeError, match="is being replayed already"), replay_log(lake):
            pass
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert "is being replayed already" in other.stderr
    with replay_log(lake):
        pass
