"""Durable files: whole or not there, whoever else writes."""

import json
from pathlib import Path

import pytest

from nextreel.durable import sync, write_json, write_text


def test_a_record_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "record.json"
    for content in ({"n": 1, "text": "é\n"}, {}):
        write_json(path, content)
        assert json.loads(path.read_bytes()) == content
        assert [p.name for p in path.parent.iterdir()] == ["record.json"]


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \udc80")
    assert path.read_text("utf-8") == "old"
    with pytest.raises(TypeError):
        write_json(path, {"not JSON": object()})
    assert path.read_text("utf-8") == "old"


def test_only_what_is_there_can_be_made_durable(tmp_path: Path) -> None:
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "absent")
