"""``nextreel quarantine``: what it prints, writes and sends, and that hostile bytes stay bytes."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from nextreel.cli import main
from nextreel.kafka.topics import create_topics
from nextreel.lake.commit import commit
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage
from nextreel.settings import Settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "\x1b[2J\u202e[red]x[/red]\u009b31m".encode() + b"\xff\x00\r\n"
USER = b'{"id":"u1","type":"user","timestamp":"2026-01-01","generos":["Drama"]}'

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run the command line on a lake of four quarantined messages."""
    messages = [
        ("not JSON", "unexpected \x1b[31m", HOSTILE, b"\x1b[31m", [{"key": "\x1btrace", "value": HOSTILE}]),
        ("empty", "the message has no value", None, None, None),
        ("wrong type", "generos: …", USER, "clé".encode(), [{"key": "a", "value": None}]),
        ("a reason of long ago", "", b"{}", b"k", []),
    ]
    rows = [
        {
            "reason": reason, "detail": detail, "raw": raw, "key": key, "headers": headers, "kafka_timestamp": NOON,
            "kafka_topic": settings.kafka.users, "kafka_partition": 0, "kafka_offset": i,
            "ingested_at": NOON + timedelta(seconds=i),
        }
        for i, (reason, detail, raw, key, headers) in enumerate(messages)
    ]  # fmt: skip
    lake = Lake(settings.lake)
    file = stage(lake, QUARANTINE, "2026-03-01", pa.Table.from_pylist(rows, SCHEMAS[QUARANTINE]))
    commit(lake, "test-query", 0, [file], {}, Intake())
    flags = {"home": settings.home, "kafka.bootstrap": settings.kafka.bootstrap, "kafka.users": settings.kafka.users}
    sets = [part for key, value in flags.items() for part in ("--set", f"{key}={value}")]

    def invoke(*arguments: str) -> Result:
        found = CliRunner().invoke(main, [*sets, "quarantine", *arguments])
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
        assert "--raw" in arguments or all(line.isprintable() for line in found.output.split("\n")), found.output
        return found

    return invoke


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_list(run: Run, settings: Settings, arguments: tuple[str, ...]) -> None:
    found = run(*arguments)
    assert found.exit_code == 0
    assert "not JSON: the value is not one JSON document" in found.output
    assert f"{settings.kafka.users}/0/0" in found.output
    assert "\\x1b[2J\\u202e[red]x[/red]\\u009b31m\\xff\\x00\\r\\n" in found.output
    assert "unexpected \\x1b[31m" in found.output
    assert "null; the message has no value" in found.output
    assert "2026-03-01 12:00" in found.output


def test_list_as_json(run: Run, settings: Settings) -> None:
    found = {told["reason"]: told for told in json.loads(run("list", "--json", "--examples", "1").stdout)}
    assert found.keys() == {"not JSON", "empty", "wrong type", "a reason of long ago"}
    assert found["empty"] | {"means": "", "remedy": ""} == {
        "reason": "empty", "means": "", "remedy": "", "messages": 1, "replayed": 0,
        "first": "2026-03-01T12:00:01+00:00", "last": "2026-03-01T12:00:01+00:00",
        "topics": {settings.kafka.users: 1},
        "examples": [
            {"place": f"{settings.kafka.users}/0/1", "detail": "the message has no value", "bytes": None, "start": ""}
        ],
    }  # fmt: skip
    assert all(found[reason][what] for reason in ("empty", "not JSON", "wrong type") for what in ("means", "remedy"))
    one = json.loads(run("list", "--json", "--reason", "Not json", "--topic", settings.kafka.users).stdout)
    assert [told["reason"] for told in one] == ["not JSON"]
    assert json.loads(run("list", "--json", "--topic", "elsewhere").stdout) == []
    assert run("list", "--reason", "bad mood").exit_code == 2
    assert run("--json").stdout == run("list", "--json").stdout
    assert run("--reason", "not json").stdout == run("list", "--reason", "not json").stdout
    assert run("--help").stdout != run("list", "--help").stdout


def test_list_says_of_what_nothing_is_there(run: Run, settings: Settings) -> None:
    users = settings.kafka.users
    known = f"the topics that nextreel reads are {users}, producer2_topic, producer3_topic, producer4_topic"
    assert run("list", "--topic", "elsewhere").stdout == f"nothing of elsewhere is in quarantine; {known}\n"
    assert run("list", "--topic", "producer2_topic").stdout == "nothing of producer2_topic is in quarantine\n"
    assert run("list", "--reason", "too large").stdout == "nothing is in quarantine for too large\n"
    assert (
        run("list", "--reason", "too large", "--topic", users).stdout
        == f"nothing of {users} is in quarantine for too large\n"
    )
    some = run("list", "--topic", users, "--topic", "producer2_topic", "--topic", "\x1b[31m").stdout
    assert f"{users}/0/0" in some
    assert some.endswith(f"\nnothing of producer2_topic, \\x1b[31m is in quarantine; {known}\n")


def test_show(run: Run, settings: Settings) -> None:
    found = run("show", f"{settings.kafka.users}/0/2")
    assert found.exit_code == 0
    for text in (
        "wrong type: a field has another JSON type",
        "generos: …",
        "clé",
        "a=null",
        '"generos": [\n    "Drama"\n  ]',
    ):
        assert text in found.output
    assert dict(line.split(maxsplit=1) for line in found.output.splitlines()[:9])["replayed"].strip() == "no"
    hostile = run("show", f"{settings.kafka.users}/0/0").output
    assert "\\x1btrace=\\x1b[2J" in hostile
    assert "\\x1b[2J\\u202e" in hostile


def test_show_raw_and_json(run: Run, settings: Settings) -> None:
    assert run("show", f"{settings.kafka.users}/0/0", "--raw").stdout_bytes == HOSTILE
    assert run("show", f"{settings.kafka.users}/0/1", "--raw").stdout_bytes == b""
    found = json.loads(run("show", f"{settings.kafka.users}/0/2", "--json").stdout)
    assert (found["value"], found["key"], found["replayed_at"]) == (USER.decode(), "clé", [])
    assert (found["sent_at"], found["ingested_at"]) == ("2026-03-01T12:00:00+00:00", "2026-03-01T12:00:02+00:00")
    assert run("show", f"{settings.kafka.users}/0/2", "--json", "--raw").exit_code == 2


def test_show_what_is_not_there(run: Run, settings: Settings) -> None:
    found = run("show", f"{settings.kafka.users}/0/9")
    assert found.exit_code == 1
    assert found.stderr == f"error: {settings.kafka.users}/0/9 is not in the quarantine of {settings.lake}\n"
    assert run("show", "nonsense").exit_code == 2


def test_export_edit_and_replay(run: Run, settings: Settings, tmp_path: Path) -> None:
    file, users = tmp_path / "export.jsonl", settings.kafka.users
    create_topics(settings.kafka)
    assert run("export", str(file)).stdout == f"4 messages in {file}\n"
    assert run("export", str(file)).exit_code == 2
    assert (
        run("export", str(file), "--force", "--reason", "empty", "--reason", "not json").stdout
        == f"2 messages in {file}\n"
    )
    line = json.loads(file.read_bytes().splitlines()[0])
    line["value"] = {"id": "u2", "type": "user", "timestamp": "2026-01-01"}
    del line["value_base64"]
    file.write_text("\n".join([json.dumps(line), file.read_text().splitlines()[1]]))

    planned = run("replay", "--from", str(file), "--dry-run")
    assert planned.exit_code == 1
    assert planned.stdout.splitlines() == [
        f"line 2, {users}/0/1: empty: the message has no value",
        f"1 message would be sent again: {users} 1",
        "1 would be rejected again: empty 1; not sent (--all sends them)",
    ]
    sent = run("replay", "--from", str(file), "--json")
    assert sent.exit_code == 1
    assert json.loads(sent.stdout) == {
        "dry_run": False, "sent": {users: 1}, "bytes": 50, "already_sent": 0, "rejected": {"empty": 1},
        "rejections": [{"line": 2, "place": f"{users}/0/1", "reason": "empty", "detail": "the message has no value"}],
    }  # fmt: skip
    again = run("replay")
    assert again.exit_code == 0  # of none was asked by name
    assert again.stdout.splitlines() == [
        f"1 message sent again: {users} 1",
        "2 would be rejected again: empty 1, missing field 1; not sent (--all sends them)",
        "1 were sent before, and are not sent again",
    ]
    found = {told["reason"]: told["replayed"] for told in json.loads(run("list", "--json").stdout)}
    assert found == {"not JSON": 1, "wrong type": 1, "empty": 0, "a reason of long ago": 0}
    assert len(json.loads(run("show", f"{users}/0/0", "--json").stdout)["replayed_at"]) == 1
    everything = run("replay", "--all", "--place", f"{users}/0/1")
    assert everything.exit_code == 0
    assert everything.stdout.splitlines()[-1] == "1 would be rejected again: empty 1; sent all the same"


def test_what_cannot_be_replayed(run: Run, settings: Settings, tmp_path: Path) -> None:
    assert run("replay", "--place", "nonsense").exit_code == 2
    assert run("replay", "--from", str(tmp_path / "none")).exit_code == 2
    assert run("replay", "--place", f"{settings.kafka.users}/0/1", "--dry-run").exit_code == 1


def test_places_that_are_not_in_quarantine_are_named_and_nothing_is_sent(
    run: Run, settings: Settings, tmp_path: Path
) -> None:
    users, lake, file = settings.kafka.users, Lake(settings.lake), tmp_path / "export.jsonl"
    there, missing = f"{users}/0/2", (f"{users}/0/999999", f"{users}/7/2")
    for arguments in (("--dry-run",), (), ("--all", "--json")):
        found = run("replay", "--place", missing[1], "--place", there, "--place", missing[0], *arguments)
        assert found.exit_code == 2
        assert found.stderr.endswith(
            f"error: {missing[0]}, {missing[1]} are not in the quarantine of {lake.root}; nothing was sent\n"
        )
        assert found.stdout == ""
    assert run("export", str(file), "--reason", "empty").exit_code == 0
    of_the_file = run("replay", "--from", str(file), "--place", there)
    assert of_the_file.exit_code == 2
    assert of_the_file.stderr.endswith(f"error: {there} is not in {file}; nothing was sent\n")
    assert not lake.replays.exists()


def test_nothing_is_in_quarantine(tmp_path: Path) -> None:
    def invoke(*arguments: str) -> str:
        found = CliRunner().invoke(main, ["--set", f"home={tmp_path / 'new'}", "quarantine", *arguments])
        assert found.exit_code == 0, found.output
        return found.stdout

    assert invoke() == "nothing is in quarantine\n"
    assert json.loads(invoke("list", "--json")) == []
    assert invoke("replay", "--dry-run") == "0 messages would be sent again\n"
    assert invoke("export", str(tmp_path / "e.jsonl")) == f"0 messages in {tmp_path / 'e.jsonl'}\n"
    assert not (tmp_path / "new").exists()  # looking creates nothing
