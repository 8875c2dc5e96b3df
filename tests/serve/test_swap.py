"""From one model version to the next: what takes over and when, what is given up, and what becomes of its memory."""

import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serve.test_follow import deed, seen, send
from tests.waiting import until

from nextreel.model.store import ModelStore
from nextreel.model.version import Facts
from nextreel.serve import serving as serving_module
from nextreel.serve.live import Live
from nextreel.serve.position import Position
from nextreel.serve.serving import Serving, load_live
from nextreel.settings import Settings

#: Enough that following them takes longer than a look at whether it is done.
MANY = 6_000


@pytest.fixture
def serving(served: Settings) -> Iterator[Serving]:
    running = Serving(served)
    running.start()
    until(lambda: not running.is_waiting and not running.not_ready(), running.not_ready)
    yield running
    running.close()


@pytest.fixture
def save(served: Settings, trained: Live) -> Callable[[], str]:
    """Saves another version of the small model."""
    store = ModelStore(served.models)
    return lambda: store.save(trained.model, {"kafka_offsets": {}}, snapshot=trained.snapshot)


def in_use(serving: Serving) -> str:
    return str(serving.about()["version"])


def value(serving: Serving, name: str) -> float:
    return float(serving.metrics.registry.get_sample_value(f"nextreel_serve_{name}") or 0.0)


def mapped(store: ModelStore, version: str) -> bool:
    """Whether this process has files of a version in its memory."""
    return str((store.root / version).resolve()) in Path("/proc/self/maps").read_text()


def followers() -> int:
    return sum(thread.name == "follower" for thread in threading.enumerate())


class Loads:
    """Acts after each load of a version, before it follows the topics; and knows the states that were loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None] = lambda _: None):
        self.states: dict[str, weakref.ref[Live]] = {}

        def load(store: ModelStore, version: str, settings: Settings) -> tuple[Live, Facts]:
            live, facts = load_live(store, version, settings)
            self.states[version] = weakref.ref(live)
            act(version)
            return live, facts

        monkeypatch.setattr(serving_module, "load_live", load)


def test_a_version_takes_over_although_others_are_promoted_while_it_is_loaded(
    serving: Serving, served: Settings, save: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(served, *(deed(f"n{k}", "t01") for k in range(MANY)))
    store, used = ModelStore(served.models), []
    versions = [save() for _ in range(4)]
    swaps = value(serving, "model_swaps_total")

    def promote_the_next(version: str) -> None:
        used.append(in_use(serving))
        if version != versions[-1]:
            store.promote(versions[versions.index(version) + 1])

    Loads(monkeypatch, promote_the_next)
    store.promote(versions[0])
    until(lambda: in_use(serving) == versions[-1], lambda: (in_use(serving), versions))
    assert used[1:] == versions[:-1], "each was in use before the next was loaded"
    assert value(serving, "model_swaps_total") == swaps + 4
    assert seen(serving.answers().live, "n0") == {"t01"}


def test_a_version_takes_over_although_events_come_faster_than_it_follows(
    serving: Serving, served: Settings, save: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the topics runs away from it: to be near the one in use is enough."""
    send(served, *(deed(f"n{k}", "t01") for k in range(MANY)))
    until(lambda: seen(serving.answers().live, f"n{MANY - 1}"))
    monkeypatch.setattr(Position, "is_past", lambda *_: False)
    version = save()
    ModelStore(served.models).promote(version)
    until(lambda: in_use(serving) == version)
    assert seen(serving.answers().live, "n0") == {"t01"}, "it was not near before"


def test_one_that_was_rolled_back_while_it_was_loaded_gives_its_memory_back(
    serving: Serving, served: Settings, save: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(served, *(deed(f"n{k}", "t01") for k in range(MANY)))
    store, first, second = ModelStore(served.models), in_use(serving), save()
    used = serving._in_use
    assert used is not None
    used.follower.rest = 4.0  # as after _HOLD_SECONDS

    def roll_back(version: str) -> None:
        store.rollback()
        assert mapped(store, version)

    loads = Loads(monkeypatch, roll_back)
    store.promote(second)
    until(lambda: second in loads.states and loads.states[second]() is None)
    assert in_use(serving) == first == store.current()
    until(lambda: followers() == 1)
    until(lambda: not mapped(store, second))
    assert value(serving, "current_model_waiting_since_timestamp_seconds") == 0.0
    assert used.follower.rest == 0.0, "it is no longer held back"


def test_a_store_that_could_not_be_read_for_a_moment_refuses_nothing(serving: Serving, served: Settings) -> None:
    current = ModelStore(served.models).root / "current"
    aside = current.with_name("aside")
    serving._pause = 0.1
    current.rename(aside)
    current.mkdir()  # reading it fails as on a disk with errors
    until(lambda: value(serving, "current_model_refused") == 1.0)
    assert serving.not_ready() == "", "the version in use still answers"
    current.rmdir()
    aside.rename(current)
    until(lambda: value(serving, "current_model_refused") == 0.0)
    assert serving.versions()["refused"] is None


def test_the_version_before_gives_its_memory_back(
    serving: Serving, served: Settings, save: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = ModelStore(served.models), in_use(serving), save()
    state = weakref.ref(serving.answers().live)
    gc.disable()  # what it refers to is to go at once, not at some time
    try:
        store.promote(second)
        until(lambda: in_use(serving) == second)
        until(lambda: state() is None)
        until(lambda: followers() == 1)
        until(lambda: not mapped(store, first))
    finally:
        gc.enable()


def test_a_current_version_that_cannot_be_loaded_is_shown_and_tried_again(
    serving: Serving, served: Settings, save: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "_FIRST_RETRY_SECONDS", 0.1)
    store, first, second = ModelStore(served.models), in_use(serving), save()
    broken = True

    def fail(version: str) -> None:
        if broken:
            raise MemoryError

    Loads(monkeypatch, fail)
    assert value(serving, "current_model_waiting_since_timestamp_seconds") == 0.0
    store.promote(second)
    until(lambda: value(serving, "models_refused_total") >= 2, pause=0.01)
    assert value(serving, "current_model_waiting_since_timestamp_seconds") == pytest.approx(
        (store.root / "current").stat().st_mtime
    )
    assert in_use(serving) == first
    until(lambda: serving.versions()["refused"] == second, serving.versions)
    until(lambda: value(serving, "current_model_refused") == 1.0)
    assert (serving.versions()["current"], serving.versions()["in_use"]) == (second, first)
    assert serving.not_ready() == ""
    broken = False
    until(lambda: in_use(serving) == second)
    until(lambda: value(serving, "current_model_waiting_since_timestamp_seconds") == 0.0)
    assert value(serving, "current_model_refused") == 0.0
    assert serving.versions()["refused"] is None


def test_it_is_not_ready_while_it_lags_too_far_behind(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = served.serve.model_copy(update={"max_lag_seconds": 1.5})
    running = Serving(served.model_copy(update={"serve": limit}))
    running.start()
    try:
        until(lambda: not running.is_waiting and not running.not_ready(), running.not_ready)
        live: Any = running.answers().live
        with live.lock:  # what holds it holds up events
            send(served, deed("new", "t01"))
            until(running.not_ready)
            assert "serve.max_lag_seconds is 1.5" in running.not_ready()
            assert value(running, "kafka_lag_seconds") > 1.5
        until(lambda: not running.not_ready(), running.not_ready)
        assert seen(live, "new") == {"t01"}
        until(lambda: value(running, "kafka_lag_seconds") == 0.0)
    finally:
        running.close()


def test_no_request_waits_for_a_kernel_to_be_compiled(served: Settings) -> None:
    """In a process of its own: this one may have compiled the kernels long before."""
    topics = {f"kafka.{name}": getattr(served.kafka, name) for name in ("users", "movies", "series", "interactions")}
    overrides = {"home": str(served.home), "kafka.bootstrap": served.kafka.bootstrap} | topics
    command = [sys.executable, "-m", "tests.serve.asking", json.dumps(overrides)]
    asking = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert asking.returncode == 0, asking.stderr
    answer = json.loads(asking.stdout)
    assert {"best_titles", "most_alike", "cholesky", "counting_sort"} <= set(answer["ready"])
    assert not [what for what, n in answer["items"].items() if not n]
    assert answer["late"] == []
