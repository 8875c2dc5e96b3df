"""The file that people edit: nothing is lost in it, a terminal can show it, and mistakes are named by their line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.errors import InputError
from nextreel.lake.place import Place
from nextreel.lake.quarantine import Quarantined
from nextreel.lake.quarantine_file import line_of, read_export, write_export

PLACE = Place("users", 1, 5)
EVENT = Quarantined(PLACE, "wrong type", "id: …", b"u1", [("trace", b"47")], b'{"id":1}')


def lines(path: Path, *given: bytes | dict[str, Any]) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n" for line in given))
    return path


def test_a_line_is_for_people() -> None:
    assert orjson.loads(line_of(EVENT)) == {
        "place": "users/1/5", "topic": "users", "reason": "wrong type", "detail": "id: …", "key": "u1",
        "headers": [{"key": "trace", "value": "47"}], "value": '{"id":1}',
    }  # fmt: skip
    binary = Quarantined(PLACE, "not UTF-8", "byte 0", b"\xff", [("a", b"\xfe"), ("b", None)], b"\xfd")
    assert orjson.loads(line_of(binary)) == {
        "place": "users/1/5", "topic": "users", "reason": "not UTF-8", "detail": "byte 0", "key_base64": "/w==",
        "headers": [{"key": "a", "value_base64": "/g=="}, {"key": "b", "value": None}], "value_base64": "/Q==",
    }  # fmt: skip


BYTES = st.none() | st.binary(max_size=40) | st.text(max_size=20).map(lambda t: t.encode("utf-8", "surrogatepass"))
MESSAGES = st.builds(
    Quarantined,
    st.builds(Place, st.from_regex(r"\A[a-zA-Z0-9._-]{1,20}\Z"), st.integers(0, 99), st.integers(0, 2**59)),
    st.text(max_size=20), st.text(max_size=20), BYTES,
    st.lists(st.tuples(st.text(max_size=5), BYTES), max_size=3), BYTES,
)  # fmt: skip


@settings(deadline=None)  # it writes files
@given(st.lists(MESSAGES, max_size=5))
def test_nothing_is_lost_and_a_terminal_can_show_it(
    tmp_path_factory: pytest.TempPathFactory, given: list[Quarantined]
) -> None:
    path = tmp_path_factory.mktemp("export") / "export.jsonl"
    assert write_export(path, given) == len(given)
    text = path.read_bytes().decode()
    assert "".join(text.split("\n")).isprintable()
    assert text.count("\n") == len(given)
    found = list(read_export(path))
    assert [m.line for m in found] == list(range(1, len(given) + 1))
    assert [(m.place, m.reason, m.detail, m.key, m.headers, m.value, m.target) for m in found] == [
        (m.place, m.reason, m.detail, m.key, m.headers, m.value, m.place.topic) for m in given
    ]


def test_what_editors_and_people_do(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "edited.jsonl",
        b'\xef\xbb\xbf{"place": "users/1/5", "key": null, "value": "{}"}\r\n',
        b"\n  \n",
        {"place": "users/1/6", "topic": "movies", "key": "a", "value": {"id": "é", "n": [1.5]}},
        b'{"place": "users/1/7", "key_base64": "/w==", "value": null, "headers": null}',
    )
    found = list(read_export(path))
    assert [(m.line, m.place.offset, m.key, m.value) for m in found] == [
        (1, 5, None, b"{}"), (4, 6, b"a", '{"id":"é","n":[1.5]}'.encode()), (5, 7, b"\xff", None),
    ]  # fmt: skip
    assert [m.target for m in found] == ["users", "movies", "users"]


GOOD: dict[str, Any] = {"place": "users/1/5", "key": None, "value": "{}"}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"{", "not JSON"),
        (b'{"place": "\\ud800"}', "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "it is no object"),
        ({**GOOD, "place": 5}, "place has to be a text"),
        ({**GOOD, "place": "users"}, "'users' is no place"),
        ({"key": None, "value": "{}"}, "place has to be a text"),
        ({"place": "users/1/5", "value": "{}"}, "either key or key_base64 has to be there"),
        ({"place": "users/1/5", "key": None}, "either value or value_base64 has to be there"),
        ({**GOOD, "value_base64": "YQ=="}, "either value or value_base64 has to be there"),
        ({**GOOD, "value": {}, "value_base64": "YQ=="}, "either value or value_base64 has to be there"),
        ({**GOOD, "value": 5}, "value has to be a text"),
        ({**GOOD, "value": []}, "value has to be a text"),
        ({**GOOD, "key": {}}, "key has to be a text"),
        ({**GOOD, "topic": None}, "topic has to be a text"),
        ({**GOOD, "headers": {}}, "headers has to be an array"),
        ({**GOOD, "headers": ["a"]}, "headers has to be an array"),
        ({**GOOD, "headers": [{"value": "a"}]}, "key has to be a text"),
        ({**GOOD, "headers": [{"key": "a"}]}, "either value or value_base64 has to be there"),
        ({**GOOD, "valeu": "{}"}, "valeu: unknown"),
        ({"place": "users/1/5", "key": None, "value_base64": "é"}, "value_base64 is not base64"),
        ({"place": "users/1/5", "key": None, "value_base64": "YQ"}, "value_base64 is not base64"),
        ({"place": "users/1/5", "key": None, "value_base64": None}, "value_base64 has to be a text"),
    ],
    ids=str,
)
def test_mistakes_are_named_by_their_line(tmp_path: Path, line: bytes | dict[str, Any], wrong: str) -> None:
    path = lines(tmp_path / "edited.jsonl", GOOD, line)
    with pytest.raises(InputError) as caught:
        list(read_export(path))
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert wrong in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_export(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_export(tmp_path / "none" / "a", [EVENT])


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    write_export(path, [EVENT])
    with pytest.raises(InputError, match="--force overwrites it"):
        write_export(path, [])
    assert len(list(read_export(path))) == 1
    assert write_export(path, [EVENT, EVENT], force=True) == 2
    assert len(list(read_export(path))) == 2


def test_a_file_that_came_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"

    def slow() -> Iterator[Quarantined]:
        yield EVENT
        path.write_text("somebody else's")

    with pytest.raises(InputError, match="exists"):
        write_export(path, slow())
    assert path.read_text() == "somebody else's"
    assert list(tmp_path.iterdir()) == [path]


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text("the last one")

    def ends() -> Iterator[Quarantined]:
        yield EVENT
        assert path.read_text() == "the last one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_export(path, ends(), force=True)
    assert path.read_text() == "the last one"
    assert list(tmp_path.iterdir()) == [path]
