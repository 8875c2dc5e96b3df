"""What is served: the current model and the events since, and the change from one model to the next.

A promoted version is loaded beside the one in use and caught up with the topics before it takes over, between two
requests. One that cannot be loaded is refused, and the one in use stays.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from math import inf, nan
from typing import Any

from starlette.exceptions import HTTPException

from nextreel.errors import ModelError
from nextreel.model.compiled import compile_serving_kernels
from nextreel.model.store import ModelStore
from nextreel.model.version import Facts
from nextreel.processes import lower_thread_priority
from nextreel.serve.answers import Answers
from nextreel.serve.follow import Follower
from nextreel.serve.live import Live
from nextreel.serve.memory import release_memory
from nextreel.serve.metrics import Metrics
from nextreel.serve.position import Position
from nextreel.serve.write import Writer
from nextreel.settings import Settings

_LOG = logging.getLogger(__name__)

#: How often the store is looked at.
_LOOK_SECONDS = 1.0
#: How often a version that is catching up is looked at, and how long a follower may take to end.
_POLL_SECONDS, _STOP_SECONDS = 0.1, 5.0
#: A version takes over at the latest when it is as many messages or seconds behind the one in use.
_NEAR_MESSAGES, _NEAR_SECONDS = 100, 1.0
#: How long the follower of the next model rests as long as it works; and after how long that of the one in use rests
#: so many times as long as it works, since both together are slower than events come.
_GENTLE_SECONDS, _HOLD_SECONDS, _HELD_REST = 30.0, 120.0, 4.0
#: A version that was refused is tried again after this long, then after twice as long each time.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 10.0, 600.0
#: Decisions that are told, the newest.
_DECISIONS = 100


@dataclass(frozen=True)
class _InUse:
    """A model, the state on it, and who follows the topics for it."""

    facts: Facts
    answers: Answers
    follower: Follower


class Serving:
    """Keeps the current model served, in threads of its own, until it is closed."""

    def __init__(self, settings: Settings):
        self.metrics = Metrics()
        self._settings = settings
        self._store = ModelStore(settings.models)
        self._in_use: _InUse | None = None
        self._refused = ""
        self._pause, self._retry_at = _FIRST_RETRY_SECONDS, 0.0
        self._waiting_since = 0.0
        self._tried: str | None = None  # the last version that was looked at; "" where there was none yet
        self._writer: Writer | None = None
        self._writer_lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)
        self._show_metrics()

    def start(self) -> None:
        """Load the current model, where there is one, and watch for the next."""
        self._thread.start()

    def close(self) -> None:
        """Stop everything that was started."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._in_use is not None:
            _stop(self._in_use.follower)
        if self._writer is not None:
            self._writer.close()

    @property
    def is_waiting(self) -> bool:
        """Whether there is no model yet."""
        return self._in_use is None

    def answers(self) -> Answers:
        """Return who answers. Raises `HTTPException` 503 while there is no model."""
        if self._in_use is None:
            raise HTTPException(503, self.not_ready(), {"Retry-After": "1"})
        return self._in_use.answers

    @property
    def max_skew_seconds(self) -> int:
        """How far ahead of now the event time of a request may be."""
        return self._settings.contract.max_clock_skew_seconds

    def writer(self) -> Writer:
        """Return who writes events. Raises `SettingsError` where Kafka's settings are not taken."""
        with self._writer_lock:
            if self._writer is None:
                self._writer = Writer(self._settings.kafka, self._settings.serve, self.metrics)
            return self._writer

    def write_failure(self) -> str:
        """Return why writes fail at the moment; empty if they do not, or if nothing was written yet."""
        return "" if self._writer is None else self._writer.failure

    def not_ready(self) -> str:
        """Return why nobody should ask yet; empty where they may."""
        if self._in_use is None:
            none = "there is no model yet: `nextreel train` makes one"
            return self._refused or (none if self._tried == "" else "the model is being loaded")
        follower = self._in_use.follower
        if not follower.is_alive():
            return "following the topics has stopped"
        if not follower.is_ready:
            return f"catching up with the topics: {follower.applied:,} events so far {follower.trouble}".strip()
        return self._lag(follower.position)

    def _lag(self, position: Position) -> str:
        """Return what to say of a lag that is too long; empty where it is not."""
        most, seconds = self._settings.serve.max_lag_seconds, position.lag_seconds
        if not most or seconds <= most:
            return ""
        return (
            f"the oldest event that answers do not know yet is {seconds:,.0f} s old, and {position.lag_messages:,} "
            f"messages wait; serve.max_lag_seconds is {most:g}"
        )

    def about(self) -> dict[str, Any]:
        """Return what there is to tell of the model in use."""
        self.answers()
        used = self._in_use
        assert used is not None  # noqa: S101 (it never goes once it is there)
        live = used.answers.live
        return {
            "version": live.version,
            "created_at": used.facts.get("created_at"),
            "users": len(live.people),
            "titles": len(live.titles),
            "factors": live.model.ranking_factors.titles.shape[1],
            "events_applied": used.follower.applied,
            "evaluation": used.facts.get("evaluation"),
        }

    def versions(self) -> dict[str, Any]:
        """Return the versions of the store, which of them is in use or cannot be loaded, and the newest decisions."""
        decisions = [asdict(decision) for decision in self._store.decisions()[-_DECISIONS:]]
        return {
            "current": self._store.current(),
            "in_use": self._version_in_use(),
            "refused": self._tried if self._refused else None,
            "versions": self._store.versions(),
            "decisions": decisions,
        }

    def promote(self, version: str) -> dict[str, Any]:
        """Make a version current, and return what `versions` does. Raises `ModelError` where it cannot be used."""
        if version not in self._store.versions():
            raise ModelError(f"there is no version {version!r}")
        try:
            self._store.promote(version, "asked for over the API")
        except ModelError as error:
            _LOG.warning("%s", error)
            raise ModelError(f"version {version!r} cannot be used") from None
        return self.versions()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except Exception as error:  # a version that is damaged in whatever way is refused, and watching goes on
                self._refuse(error)
            self._stopping.wait(_LOOK_SECONDS)

    def _look(self) -> None:
        """Load the current version where it is another one than the last that was tried, or where that is due again."""
        current = self._store.current()
        self._note_waiting(current)
        if current is None and self._tried is None:
            self._tried = ""
            _LOG.warning("%s", self.not_ready())
        elif current is not None and (current != self._tried or self._is_due()):
            if current != self._tried:
                self._tried, self._refused, self._pause = current, "", _FIRST_RETRY_SECONDS
            if current != self._version_in_use():
                try:
                    self._take(current)
                    self._refused = ""
                finally:
                    self._note_waiting(self._store.current())
                    release_memory()  # of the version before, or of one that did not take over
            else:  # it was the store that could not be read
                self._refused = ""

    def _is_due(self) -> bool:
        """Tell whether a version that was refused is to be tried again: memory or a disk may have been short."""
        return bool(self._refused) and time.monotonic() >= self._retry_at

    def _refuse(self, error: Exception) -> None:
        self._refused = f"model {self._tried} cannot be used: {error}"
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_RETRY_SECONDS)
        self.metrics.refused.inc()
        _LOG.error("%s", self._refused, exc_info=not isinstance(error, ModelError | OSError))

    def _take(self, version: str) -> None:
        """Load a version, follow the topics until it has nearly caught up, and have it take over.

        Versions that are promoted meanwhile are loaded afterwards: else none would ever take over where they come
        faster than one is loaded. It is given up where the version in use becomes current again.
        """
        with ThreadPoolExecutor(1, "loader", lower_thread_priority) as loader:  # who follows is not to stand back
            # Before the model is used: a request would wait for the compiler for seconds, and /healthz with it.
            loader.submit(compile_serving_kernels).result()
            live, facts = loader.submit(load_live, self._store, version, self._settings).result()
        before = self._in_use
        offsets = facts.get("kafka_offsets", {})
        follower = Follower(
            self._settings.kafka,
            live,
            offsets,
            gently=before is not None,
            max_skew_seconds=self._settings.contract.max_clock_skew_seconds,
            topic_ids=facts.get("kafka_topic_ids"),
            metrics=self.metrics,
        )
        follower.start()
        # Without a model before, better an answer without the last events than none.
        if before is not None and not self._catches_up(follower, before):
            _LOG.info(
                "model %s is given up: %s", version, "the server ends" if self._stopping.is_set() else "rolled back"
            )
            return
        self._in_use = _InUse(facts, Answers(live, self._settings.ratings.weights), follower)
        self.metrics.swaps.inc()
        _LOG.info("model %s is in use: %s users, %s titles", version, f"{len(live.people):,}", f"{len(live.titles):,}")
        if before is not None:
            follower.rest = 0.0
            _stop(before.follower)

    def _catches_up(self, follower: Follower, before: _InUse) -> bool:
        """Wait for a follower; one that does not catch up is stopped, and the one in use no longer held back."""
        has_caught_up = False
        try:
            has_caught_up = self._has_caught_up(follower, before)
        finally:
            if not has_caught_up:
                before.follower.rest = 0.0
                _stop(follower)
        return has_caught_up

    def _has_caught_up(self, follower: Follower, before: _InUse) -> bool:
        """Wait until a follower has nearly caught up with the one in use; tell whether it has, or was given up."""
        began = time.monotonic()
        while not follower.wait(_POLL_SECONDS):
            if self._stopping.is_set() or self._store.current() == before.answers.live.version:
                return False
            if not follower.is_alive():
                raise ModelError("following the topics for it has ended")
            if _is_near(follower.position, before.follower.position):
                follower.finish()
            waited = time.monotonic() - began
            if waited > _GENTLE_SECONDS:
                follower.rest = 0.0
            if waited > _HOLD_SECONDS:  # more comes than two can follow
                before.follower.rest = _HELD_REST
        return True

    def _version_in_use(self) -> str | None:
        used = self._in_use
        return None if used is None else used.answers.live.version

    def _note_waiting(self, current: str | None) -> None:
        """Note since when the current version is not the one in use: since it became current, if that is known."""
        if current is None or current == self._version_in_use():
            self._waiting_since = 0.0
        elif not self._waiting_since:
            self._waiting_since = self._store.current_since() or time.time()

    def _show_metrics(self) -> None:
        """Have gauges show what is so whenever Prometheus asks, also while a model is being loaded."""

        def of_use(figure: Callable[[_InUse], float]) -> Callable[[], float]:
            return lambda: 0.0 if (used := self._in_use) is None else float(figure(used))

        def lag_messages(used: _InUse) -> float:
            return nan if used.follower.position.is_unknown else used.follower.position.lag_messages

        show = self.metrics
        show.events.set_function(of_use(lambda used: used.follower.applied))
        show.rejected.set_function(of_use(lambda used: used.follower.rejected))
        show.users.set_function(of_use(lambda used: len(used.answers.live.people)))
        show.titles.set_function(of_use(lambda used: len(used.answers.live.titles)))
        show.lag_messages.set_function(of_use(lag_messages))
        show.lag_seconds.set_function(of_use(lambda used: used.follower.position.lag_seconds))
        show.model_refused.set_function(lambda: float(bool(self._refused)))
        show.model_waiting_since.set_function(lambda: self._waiting_since)


def _is_near(position: Position, before: Position) -> bool:
    """Tell whether a position is so close to the one in use that nobody notices the difference for long."""
    near = position.messages_behind(before)
    return near <= _NEAR_MESSAGES or (near < inf and position.applied_until >= before.complete_at - _NEAR_SECONDS)


def _stop(follower: Follower) -> None:
    """End a follower, so that nothing holds its state any more."""
    follower.stop()
    follower.join(_STOP_SECONDS)


def load_live(store: ModelStore, version: str, settings: Settings) -> tuple[Live, Facts]:
    """Return the state on a version as its training left it, and its facts. Raises `ModelError` where it is damaged."""
    model, snapshot, facts = store.load_to_serve(version)
    made = facts.get("created_at")
    trained_at = None if made is None else round(datetime.fromisoformat(made).timestamp() * 1e6)
    return Live(version, model, snapshot, settings.ratings, settings.serve, trained_at), facts
