"""What is served: the current model and the events since, and the change from one model to the next.

A promoted version is loaded beside the one in use and caught up with the topics before it takes over, between two
requests. One that cannot be loaded is refused, and the one in use stays.
"""

import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException

from nextreel.errors import ModelError
from nextreel.model.store import ModelStore
from nextreel.model.version import Facts
from nextreel.processes import lower_thread_priority
from nextreel.serve.answers import Answers
from nextreel.serve.follow import Follower
from nextreel.serve.live import Live
from nextreel.serve.metrics import Metrics
from nextreel.serve.write import Writer
from nextreel.settings import Settings

_LOG = logging.getLogger(__name__)

#: How often the store is looked at.
_LOOK_SECONDS = 1.0
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
        self._tried: str | None = None  # the last version that was looked at; "" where there was none yet
        self._writer: Writer | None = None
        self._writer_lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)

    def start(self) -> None:
        """Load the current model, where there is one, and watch for the next."""
        self._thread.start()

    def close(self) -> None:
        """Stop everything that was started."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._in_use is not None:
            self._in_use.follower.stop()
            self._in_use.follower.join(5.0)
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
        return ""

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
        """Return the versions of the store and the newest decisions about them."""
        decisions = [asdict(decision) for decision in self._store.decisions()[-_DECISIONS:]]
        return {"current": self._store.current(), "versions": self._store.versions(), "decisions": decisions}

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
                current = self._store.current()
                if current is None and self._tried is None:
                    self._tried = ""
                    _LOG.warning("%s", self.not_ready())
                elif current is not None and current != self._tried:
                    self._tried, self._refused = current, ""
                    self._take(current)
            except Exception as error:  # a version that is damaged in whatever way is refused, and watching goes on
                self._refused = f"model {self._tried} cannot be used: {error}"
                self.metrics.refused.inc()
                _LOG.error("%s", self._refused, exc_info=not isinstance(error, ModelError | OSError))
            self._tell()
            self._stopping.wait(_LOOK_SECONDS)

    def _take(self, version: str) -> None:
        """Load a version, catch up, and have it take over."""
        with ThreadPoolExecutor(1, "loader", lower_thread_priority) as loader:  # who follows is not to stand back
            live, facts = loader.submit(load_live, self._store, version, self._settings).result()
        before = self._in_use
        offsets = facts.get("kafka_offsets", {})
        skew = self._settings.contract.max_clock_skew_seconds
        follower = Follower(self._settings.kafka, live, offsets, gently=before is not None, max_skew_seconds=skew)
        follower.start()
        if before is None:  # better an answer without the last events than none
            follower.wait(0.0)
        else:  # however long it takes: without the events since its training it knows less than the one in use
            while not follower.wait(0.1):
                if self._stopping.is_set() or self._store.current() != version:
                    follower.stop()
                    return
        self._in_use = _InUse(facts, Answers(live, self._settings.ratings.weights), follower)
        self._refused = ""
        self.metrics.swaps.inc()
        _LOG.info("model %s is in use: %s users, %s titles", version, f"{len(live.people):,}", f"{len(live.titles):,}")
        if before is not None:
            before.follower.stop()
            gc.collect()

    def _tell(self) -> None:
        if self._in_use is not None:
            live, follower = self._in_use.answers.live, self._in_use.follower
            self.metrics.events.set(follower.applied)
            self.metrics.rejected.set(follower.rejected)
            self.metrics.users.set(len(live.people))
            self.metrics.titles.set(len(live.titles))


def load_live(store: ModelStore, version: str, settings: Settings) -> tuple[Live, Facts]:
    """Return the state on a version as its training left it, and its facts. Raises `ModelError` where it is damaged."""
    model, snapshot, facts = store.load_to_serve(version)
    made = facts.get("created_at")
    trained_at = None if made is None else round(datetime.fromisoformat(made).timestamp() * 1e6)
    return Live(version, model, snapshot, settings.ratings, settings.serve, trained_at), facts
