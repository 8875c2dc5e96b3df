"""The file of keys: several who change it, one that cannot be read."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nextreel.errors import SettingsError
from nextreel.serve import keys as keys_module
from nextreel.serve.keys import Keys, add_key, read_keys, revoke_key


def test_keys_that_are_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: add_key(path, f"key{n}", "read"), range(24)))
    held = Keys(path)
    assert {key.name for key in read_keys(path)} == {f"key{n}" for n in range(24)}
    assert [found.name for key in made if (found := held.find(key))] == [f"key{n}" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: revoke_key(path, f"key{n}"), range(23)))
    assert [key.name for key in read_keys(path)] == ["key23"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_that_can_no_longer_be_reached_leaves_the_keys_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys_module, "_LOOK_SECONDS", 0.0)
    path = tmp_path / "keys.json"
    made = add_key(path, "app", "write")
    held = Keys(path)

    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", denied)
    assert held.needed
    assert held.find(made) is not None
    assert "the keys that were known stay" in caplog.text
    with pytest.raises(SettingsError, match="Permission denied"):
        Keys(path)
