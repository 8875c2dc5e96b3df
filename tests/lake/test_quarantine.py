"""What is in quarantine: counted by reason, with examples, found by place, read in batches."""

from collections import Counter
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nextreel.lake.commit import commit
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.place import Place
from nextreel.lake.quarantine import Example, Held, Selection, absent, find, held, messages, reasons
from nextreel.lake.replays import ReplayLog
from nextreel.lake.write import LakeWriter, stage, staging_path


def write(lake: Lake, batch: int, date: str, *given: str) -> None:
    rows = pa.Table.from_pylist([{"reason": r, "raw": b"\xff"} for r in given], SCHEMAS[QUARANTINE])
    commit(lake, "test-query", batch, [stage(lake, QUARANTINE, date, rows)], {}, Intake())


def test_nothing_there(tmp_path: Path) -> None:
    assert reasons(Lake(tmp_path / "nowhere")) == {}


def test_most_first_then_by_name_over_all_days(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    write(lake, 0, "2026-01-01", "not JSON", "empty", "wrong type", "wrong type")
    write(lake, 1, "2026-01-02", "wrong type", "empty", "not JSON", "bad timestamp")
    found = reasons(lake)
    assert list(found.items()) == [("wrong type", 3), ("empty", 2), ("not JSON", 2), ("bad timestamp", 1)]


def test_only_what_is_committed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = pa.Table.from_pylist([{"reason": "empty"}], SCHEMAS[QUARANTINE])
    stage(lake, QUARANTINE, "2026-01-01", rows)
    assert reasons(lake) == {}


def test_an_empty_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    write(lake, 0, "2026-01-01")
    assert reasons(lake) == {}


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(offset: int, reason: str, **changes: Any) -> dict[str, Any]:
    """A row of the quarantine: message ``offset`` of partition 1 of topic u, arrived ``offset`` minutes after noon."""
    arrived = NOON + timedelta(minutes=offset)
    place = {"kafka_topic": "u", "kafka_partition": 1, "kafka_offset": offset}
    message = {"key": b"key", "headers": [], "raw": b"raw %d" % offset, "kafka_timestamp": NOON, "ingested_at": arrived}
    return {"reason": reason, "detail": f"detail {offset}"} | message | place | changes


def fill(lake: Lake, *batches: list[dict[str, Any]], schema: pa.Schema = SCHEMAS[QUARANTINE]) -> None:
    for i, batch in enumerate(batches):
        file = stage(lake, QUARANTINE, f"2026-03-{i + 1:02d}", pa.Table.from_pylist(batch, schema))
        commit(lake, "test-query", i, [file], {}, Intake())


def test_held_by_reason_with_the_newest_as_examples(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fill(
        lake,
        [row(0, "not JSON"), row(1, "empty", raw=None), row(2, "not JSON"), row(9, "not JSON", kafka_topic="m")],
        [row(3, "empty", raw=b""), row(4, "not JSON", raw=b"x" * 5_000)],
    )
    assert held(lake, n_examples=2) == [
        Held(
            "not JSON", 4, 0, NOON, NOON + timedelta(minutes=9), Counter({"u": 3, "m": 1}),
            [
                Example(Place("m", 1, 9), "detail 9", b"raw 9", 5),
                Example(Place("u", 1, 4), "detail 4", b"x" * 1_000, 5_000),
            ],
        ),
        Held(
            "empty", 2, 0, NOON + timedelta(minutes=1), NOON + timedelta(minutes=3), Counter({"u": 2}),
            [Example(Place("u", 1, 3), "detail 3", b"", 0), Example(Place("u", 1, 1), "detail 1", b"", None)],
        ),
    ]  # fmt: skip
    assert [h.examples for h in held(lake, n_examples=0)] == [[], []]
    assert held(Lake(tmp_path / "nowhere")) == []


def test_held_counts_what_was_replayed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fill(lake, [row(i, "empty" if i % 2 else "not JSON") for i in range(10)])
    log = ReplayLog(lake)
    log.add([(Place("u", 1, offset), "u", b"") for offset in (1, 2, 3)])
    log.add([(Place("u", 0, 5), "u", b""), (Place("m", 1, 5), "m", b"")])  # other places
    log.close()
    assert {h.reason: h.replayed for h in held(lake)} == {"not JSON": 1, "empty": 2}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [0, 1, 2, 3, 4]),
        (Selection(reasons=["empty"]), [1, 3]),
        (Selection(reasons=["empty", "wrong type"]), [1, 2, 3]),
        (Selection(topics=["m"]), [3, 4]),
        (Selection(reasons=["empty"], topics=["m"]), [3]),
        (Selection(places=[Place("u", 1, 2), Place("m", 1, 4), Place("m", 1, 2), Place("u", 0, 1)]), [2, 4]),
        (Selection(topics=["nowhere"]), []),
    ],
)
def test_a_selection_says_the_same_to_parquet_and_to_a_message(
    tmp_path: Path, selection: Selection, expected: list[int]
) -> None:
    lake = Lake(tmp_path)
    given = [(0, "not JSON", "u"), (1, "empty", "u"), (2, "wrong type", "u"), (3, "empty", "m"), (4, "not JSON", "m")]
    rows = [row(offset, reason, kafka_topic=topic) for offset, reason, topic in given]
    fill(lake, rows[:2], rows[2:])
    assert [m.place.offset for m in messages(lake, selection)] == expected
    assert [m.place.offset for m in filter(selection.has, messages(lake))] == expected
    assert sum(h.messages for h in held(lake, selection)) == len(expected)


def test_a_message_is_found_with_all_that_it_had(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    headers = [{"key": "a", "value": b"\xff"}, {"key": "a", "value": None}]
    fill(
        lake,
        [row(0, "empty"), row(7, "not JSON", key=b"\x00k", headers=headers, raw=b"\xff\x00", kafka_timestamp=None)],
    )
    found = find(lake, Place("u", 1, 7))
    assert found is not None
    assert (found.place, found.reason, found.detail) == (Place("u", 1, 7), "not JSON", "detail 7")
    assert (found.key, found.headers, found.value) == (b"\x00k", [("a", b"\xff"), ("a", None)], b"\xff\x00")
    assert (found.sent_at, found.ingested_at) == (None, NOON + timedelta(minutes=7))
    assert (found.line, found.target) == (0, "u")
    assert find(lake, Place("u", 0, 7)) is None
    assert find(Lake(tmp_path / "nowhere"), Place("u", 1, 7)) is None


def test_files_of_before_there_were_headers(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    old = SCHEMAS[QUARANTINE].remove(SCHEMAS[QUARANTINE].get_field_index("headers"))
    without = {k: v for k, v in row(0, "empty").items() if k != "headers"}
    fill(lake, [without], schema=old)
    headers = [{"key": "a", "value": b"b"}]
    file = stage(
        lake, QUARANTINE, "2026-03-01", pa.Table.from_pylist([row(1, "empty", headers=headers)], SCHEMAS[QUARANTINE])
    )
    commit(lake, "test-query", 1, [file], {}, Intake())
    assert sorted(m.headers for m in messages(lake)) == [[], [("a", b"b")]]
    assert [h.messages for h in held(lake)] == [2]


def test_absent(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fill(lake, [row(0, "empty"), row(1, "empty", kafka_topic="m")])
    there, elsewhere, later = Place("u", 1, 0), Place("u", 0, 0), Place("m", 1, 2)
    assert absent(lake, [there, elsewhere, later, Place("m", 1, 1)]) == {elsewhere, later}
    assert absent(lake, []) == set()
    assert absent(Lake(tmp_path / "nowhere"), [there]) == {there}


def test_large_messages_are_not_in_memory_at_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    large = [bytes([65 + i % 26]) * 1_000_000 for i in range(400)]
    for i in range(4):
        rows = [row(100 * i + j, "too large", raw=raw) for j, raw in enumerate(large[100 * i :][:100])]
        writer = LakeWriter(staging_path(lake), QUARANTINE, "2026-03-01")
        for r in rows:
            writer.write(pa.Table.from_pylist([r], SCHEMAS[QUARANTINE]))
        commit(lake, "test-query", i, [writer.close()], {}, Intake())
    before, held_bytes = pa.total_allocated_bytes(), []
    for message in messages(lake):
        assert message.value == large[message.place.offset]
        held_bytes.append(pa.total_allocated_bytes() - before)
    assert len(held_bytes) == 400
    assert max(held_bytes) < 300_000_000
    reading = messages(lake)
    assert len(list(islice(reading, 3))) == 3
    assert isinstance(reading, Generator)
    reading.close()  # and lets go of the lake's names
    assert [(h.messages, len(h.examples)) for h in held(lake)] == [(400, 3)]
