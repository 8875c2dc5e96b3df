"""The mean size of messages, by what the last micro-batches held."""

import json
from pathlib import Path
from typing import Any

from nextreel.ingest.size import ASSUMED_BYTES, MeanSize
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake, record_path


def record(lake: Lake, batch: int, **keys: Any) -> None:
    path = record_path(lake, batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"batch": batch} | keys))


def test_the_newest_record_tells(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    size = MeanSize(lake.commits)
    assert size.read() == ASSUMED_BYTES == 1_000
    record(lake, 7, raw_bytes=1_000, messages={"u": {"0": 1, "1": 3}, "m": {"0": 4}})
    assert size.read() == 125
    record(lake, 8, raw_bytes=9_000, messages={"u": {"0": 3}})
    record(lake, 9, raw_bytes=600, messages={"u": {"0": 3}})
    assert size.read() == 200
    assert MeanSize(lake.commits).read() == 200


def test_a_record_that_does_not_tell_changes_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    size = MeanSize(lake.commits)
    record(lake, 0, files=[])
    assert size.read() == ASSUMED_BYTES
    record(lake, 1, raw_bytes=600, messages={"u": {"0": 3}})
    record(lake, 2, raw_bytes=0, messages={})
    record(lake, 3, messages={"u": {"0": 3}})
    assert size.read() == 200


def test_empty_messages_are_not_taken_for_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    record(lake, 0, raw_bytes=0, messages={"u": {"0": 3}})
    assert MeanSize(lake.commits).read() == 1


def test_records_are_what_the_lake_writes() -> None:
    assert {"raw_bytes", "messages"} <= Intake.__dataclass_fields__.keys()
