"""Model versions on disk: read back as written, moved whole, and never run as code."""

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from nextreel.errors import ModelError
from nextreel.model.model import Biases, Factors, Model
from nextreel.model.store import ModelStore

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FILES = [
    "model.json",
    "ranking_factors-titles.npy",
    "ranking_factors-users.npy",
    "rating_factors-titles.npy",
    "rating_factors-users.npy",
    "titles.arrow",
    "users.arrow",
]


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def model(n_users: int = 2) -> Model:
    rng = np.random.default_rng(n_users)
    return Model(
        user_ids=pa.array([f"üser {i}" for i in range(n_users)], pa.string()),
        title_ids=pa.array(["t1", "t2", "🎬"]),
        biases=Biases(3.25, f32(rng.normal(size=n_users)), f32([0.25, 0.0, -2.0])),
        rating_factors=Factors(f32(rng.normal(size=(n_users, 2))), f32(rng.normal(size=(3, 2)))),
        ranking_factors=Factors(f32(rng.normal(size=(n_users, 4))), f32(rng.normal(size=(3, 4)))),
        popularity=f32([5, 0, 2]),
    )


def assert_same(found: Model, expected: Model) -> None:
    assert found.user_ids.to_pylist() == expected.user_ids.to_pylist()
    assert found.title_ids.to_pylist() == expected.title_ids.to_pylist()
    assert found.biases.mean == expected.biases.mean
    for part, side in (
        *((p, s) for p in ("biases", "rating_factors", "ranking_factors") for s in ("users", "titles")),
        ("popularity", None),
    ):
        a, b = (getattr(m, part) if side is None else getattr(getattr(m, part), side) for m in (found, expected))
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def current(store: ModelStore) -> str:
    """A version that is current."""
    version = store.save(model(), {"engine": "test"}, NOON)
    store.promote(version)
    return version


def test_round_trip(store: ModelStore, current: str) -> None:
    assert_same(store.load(), model())
    assert_same(store.load(current), model())
    assert store.facts(current) == {
        "version": "20260301T120000-000",
        "created_at": "2026-03-01T12:00:00+00:00",
        "mean": 3.25,
        "engine": "test",
    }
    assert sorted(p.name for p in (store.root / current).iterdir()) == FILES


def test_a_model_of_nobody(store: ModelStore) -> None:
    assert_same(store.load(store.save(model(0), {})), model(0))


def test_an_empty_store(store: ModelStore) -> None:
    assert store.versions() == []
    assert store.current() is None
    with pytest.raises(ModelError, match=r"no model in .* yet; `nextreel train` makes one"):
        store.load()


def test_versions_are_named_by_time_in_utc_and_numbered_within_a_second(store: ModelStore) -> None:
    later = (NOON + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=9)))
    saved = [store.save(model(), {}, now) for now in (later, NOON, NOON)]
    assert saved == ["20260301T120500-000", "20260301T120000-000", "20260301T120000-001"]
    assert store.versions() == sorted(saved)


def test_saving_does_not_promote(store: ModelStore, current: str) -> None:
    newer = store.save(model(3), {}, NOON + timedelta(days=1))
    assert store.current() == current
    assert_same(store.load(), model(2))
    assert_same(store.load(newer), model(3))


def test_promote_and_roll_back(store: ModelStore, current: str) -> None:
    newer = store.save(model(3), {}, NOON + timedelta(days=1))
    store.promote(newer)
    assert_same(store.load(), model(3))
    store.promote(current)
    assert_same(store.load(), model(2))
    assert sorted(p.name for p in store.root.iterdir()) == [current, newer, "current"]


@pytest.mark.parametrize("name", ["20260301T120000-001", "current", "../models", ""])
def test_only_versions_can_be_promoted(store: ModelStore, current: str, name: str) -> None:
    with pytest.raises(ModelError, match=f"there are {current}"):
        store.promote(name)
    assert store.current() == current


def test_a_current_version_that_is_gone(store: ModelStore, current: str) -> None:
    (store.root / current).rename(store.root / "elsewhere")
    with pytest.raises(ModelError, match=current):
        store.load()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def zipped(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + path.read_bytes())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 4),
    "zip": zipped,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_version_is_refused(store: ModelStore, current: str, file: str, damage: str) -> None:
    DAMAGES[damage](store.root / current / file)
    with pytest.raises(ModelError, match=current):
        store.load()


@pytest.mark.parametrize("facts", ["[]", "{}", '{"mean": null}', '{"mean": "high"}', "null"])
def test_a_model_json_of_something_else(store: ModelStore, current: str, facts: str) -> None:
    (store.root / current / "model.json").write_text(facts, "utf-8")
    with pytest.raises(ModelError, match="damaged"):
        store.load()


def test_parts_of_different_versions_do_not_fit(store: ModelStore, current: str) -> None:
    other = store.save(model(3), {}, NOON + timedelta(days=1))
    (store.root / other / "users.arrow").replace(store.root / current / "users.arrow")
    with pytest.raises(ModelError, match="the ids of"):
        store.load()


class Mischief:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("as_array", [True, False], ids=["object array", "bare pickle"])
def test_a_pickle_in_place_of_factors_is_not_run(
    store: ModelStore, current: str, tmp_path: Path, as_array: bool
) -> None:
    trace, file = tmp_path / "trace", store.root / current / "rating_factors-users.npy"
    if as_array:
        np.save(file, np.array([Mischief(trace)], object), allow_pickle=True)
        np.load(file, allow_pickle=True)  # the file does what it says
    else:
        file.write_bytes(pickle.dumps(Mischief(trace)))
        pickle.loads(file.read_bytes())  # noqa: S301 (our own)
    assert trace.exists()
    trace.unlink()
    with pytest.raises(ModelError, match="damaged"):
        store.load()
    assert not trace.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from nextreel.model.model import Biases, Factors, Model
from nextreel.model.store import ModelStore

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

root, moment = sys.argv[1:]
zeros = np.zeros((1, 1), np.float32)
both = Factors(zeros, zeros)
model = Model(pa.array(["u"]), pa.array(["t"]), Biases(1.0, zeros[0], zeros[0]), both, both, zeros[0])
store = ModelStore(Path(root))
if moment == "writing":
    Path.write_text = kill
elif moment == "before the rename":
    Path.rename = kill
version = store.save(model, {})
if moment == "before promoting":
    Path.replace = kill
store.promote(version)
"""


@pytest.mark.parametrize("moment", ["writing", "before the rename", "before promoting"])
def test_a_kill_leaves_the_old_current(store: ModelStore, current: str, moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root), moment], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(list(store.root.iterdir())) > 2  # what the killed process left
    assert store.current() == current
    assert_same(store.load(), model())
    complete = [v for v in store.versions() if v != current]
    assert len(complete) == (moment == "before promoting")
    for version in complete:
        assert store.load(version).user_ids.to_pylist() == ["u"]
    newer = store.save(model(3), {})
    store.promote(newer)
    assert_same(store.load(), model(3))


def test_what_a_kill_left_behind_is_no_version(store: ModelStore, current: str) -> None:
    partial = store.root / ".20270101T000000-000.4711"
    partial.mkdir()
    (partial / "model.json").write_text("{", "utf-8")
    (store.root / ".current.4711").write_text("2027", "utf-8")
    assert store.versions() == [current]
    assert_same(store.load(), model())


def test_facts_are_plain_json(store: ModelStore, current: str) -> None:
    text = (store.root / current / "model.json").read_text("utf-8")
    assert json.loads(text)["version"] == current
    assert text.endswith("}\n")
