"""The demonstration: the whole system, live, from nothing to recommendations.

Events go to Kafka while Spark is still starting; then come ingest, training, evaluation and export. After that events
keep flowing, the server's answers follow them, and models are made anew from time to time.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from py4j.protocol import Py4JError

from nextreel.app import in_background
from nextreel.errors import SettingsError
from nextreel.events.contract import EVENT_TYPES
from nextreel.feed import Feed
from nextreel.ingest.metrics import served
from nextreel.ingest.observe import Observer
from nextreel.ingest.query import Batch, Totals, start_ingest
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.producer import Delivery, EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake.session import spark_session, stop_spark, warm_up
from nextreel.lake.spark_errors import spark_errors
from nextreel.publish import publish
from nextreel.settings import Settings
from nextreel.train.job import Training, train

#: The original system's volume, all producers together, in bytes of JSON a second.
LIVE_RATE = 500_000

#: Of the live volume, what interactions are; the rest is the other types' in equal parts.
_INTERACTIONS_SHARE = 0.91


class Progress(Protocol):
    """Who is told what happens."""

    def step(self, text: str) -> None:
        """A step begins."""

    def count(self, done: int, total: int | None) -> None:
        """The step at hand has come this far; ``total`` is None while it is not known."""

    def live(self, text: str) -> None:
        """The stream is doing so, now."""


@dataclass(frozen=True)
class Outcome:
    """What one round came to; ``seconds`` by step, in their order."""

    sent: Delivery
    ingested: Totals
    training: Training
    recommendations: pa.Table
    csv: Path
    seconds: dict[str, float]


class Demo:
    """One demonstration. A context manager: it stops everything that it started.

    It always brings its own broker: invented events have no place in anybody's Kafka.
    """

    def __init__(self, settings: Settings, make_feed: Callable[[], Feed], progress: Progress):
        self._settings = settings
        self._make_feed = make_feed
        self._progress = progress
        self._cleanup = ExitStack()
        self._stopping = threading.Event()
        self._ingested = Totals()
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, cause: type[BaseException] | None, *_: object) -> None:
        self._progress.step("stopping")
        self._stopping.set()
        try:
            self._cleanup.close()
        except (Py4JError, OSError):
            # Ctrl-C in the middle of a call leaves the line to the JVM unusable; it has been ended all the same.
            if cause is None:
                raise

    def first_round(self) -> Outcome:
        """Go from nothing to everyone's recommendations."""
        with spark_errors(self._settings):
            return self._first_round()

    def _first_round(self) -> Outcome:
        with self._step("starting the broker"):
            wanted = self._settings.ingest
            metrics = self._cleanup.enter_context(served(wanted.metrics_port, wanted.metrics_host))
            self._connect()
        with self._step("starting Spark, while events go to Kafka"):
            feeding = self._in_background(self._send_history)
            self._spark = spark_session(self._settings)
            self._cleanup.callback(stop_spark, self._spark)
            self._in_background(lambda _: warm_up(self._spark))
            self._observer = self._cleanup.enter_context(Observer(self._settings, metrics))
            self._query = self._observer.watch(start_ingest(self._spark, self._settings, self._on_batch))
            self._cleanup.callback(self._query.stop)
        with self._step("events into the lake"):
            self._wait_for_all(feeding)
        return self._learn(feeding.result())

    def _on_batch(self, batch: Batch) -> None:
        self._ingested.add(batch)
        self._observer.batch(batch)

    def serve(self) -> str:
        """Serve the current model and every event that comes; return the server's address.

        At the port of the settings, or at any that is free where that is taken.
        """
        try:
            return self._cleanup.enter_context(in_background(self._settings))
        except SettingsError:
            serve = self._settings.serve.model_copy(update={"port": 0})
            return self._cleanup.enter_context(in_background(self._settings.model_copy(update={"serve": serve})))

    def further_rounds(self, seconds: float) -> Iterator[Outcome]:
        """Let events flow, and learn again every ``seconds`` where new ones have come."""
        live = self._in_background(self._send_live)
        known = self._ingested.batches
        while True:
            with spark_errors(self._settings):
                self._progress.step("the stream goes on")
                self._sleep(seconds, live)
                if self._ingested.batches == known:
                    continue
                known = self._ingested.batches
                self._seconds.clear()
                outcome = self._learn(live.sent)
            yield outcome

    def _connect(self) -> None:
        bootstrap = self._cleanup.enter_context(embedded_broker())
        kafka = self._settings.kafka.model_copy(update={"bootstrap": bootstrap, "client": {}})
        self._settings = self._settings.model_copy(update={"kafka": kafka})
        create_topics(kafka)

    def _learn(self, sent: Delivery) -> Outcome:
        training = train(self._spark, self._settings, self._progress.step)
        self._seconds |= training.seconds
        with self._step("writing recommendations"):
            table, path = publish(training, self._settings)
        return Outcome(sent, self._ingested, training, table, path, dict(self._seconds))

    def _send_history(self, task: "_Task") -> None:
        self._feed = self._make_feed()
        producer = EventProducer(self._settings.kafka)
        task.sent = producer.delivery
        for event_type, topic in topics_by_type(self._settings.kafka).items():
            producer.send_raw(topic, ((None, raw) for raw in self._feed.faulty(event_type)))
            for batch in self._feed.history(event_type):
                if self._stopping.is_set():
                    return
                producer.send(topic, batch)
        producer.flush()

    def _send_live(self, task: "_Task") -> None:
        producer = EventProducer(self._settings.kafka, LIVE_RATE)
        task.sent = producer.delivery
        topics = topics_by_type(self._settings.kafka)
        batches = {e: (b for whole in self._feed.live(e) for b in _slices(whole)) for e in EVENT_TYPES}
        sent = dict.fromkeys(EVENT_TYPES, 0.0)
        shares = dict.fromkeys(EVENT_TYPES, (1 - _INTERACTIONS_SHARE) / 3) | {"interaction": _INTERACTIONS_SHARE}
        while not self._stopping.is_set():
            behind = min(EVENT_TYPES, key=lambda e: sent[e] / shares[e])
            batch = next(batches[behind], None)
            if batch is None:
                break
            before = producer.delivery.bytes
            producer.send(topics[behind], batch)
            sent[behind] += producer.delivery.bytes - before
        producer.flush()

    def _wait_for_all(self, feeding: "_Task") -> None:
        while True:
            done = sum(self._ingested.rows.values())
            if not feeding.is_alive() and done >= feeding.result().sent:
                return
            self._progress.count(done, None if feeding.is_alive() else feeding.sent.sent)
            self._sleep(0.1, feeding)

    def _sleep(self, seconds: float, task: "_Task") -> None:
        """Wait, and raise what has gone wrong meanwhile in the stream or in a background task."""
        deadline = time.monotonic() + seconds
        while True:
            if not self._query.isActive and (error := self._query.exception()):
                raise error
            if not task.is_alive():
                task.result()
            self._progress.live(str(self._observer.now))
            if (left := deadline - time.monotonic()) <= 0:
                return
            time.sleep(min(left, 0.5))

    def _in_background(self, work: "Callable[[_Task], None]") -> "_Task":
        task = _Task(work)
        task.start()
        self._cleanup.callback(task.join, 10.0)
        return task

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._progress.step(name)
        began = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - began


class _Task(threading.Thread):
    """Sending in the background: what it has sent, and what went wrong."""

    def __init__(self, work: "Callable[[_Task], None]"):
        super().__init__(daemon=True)
        self.sent = Delivery()
        self._work = work
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work(self)
        except BaseException as error:
            self._error = error

    def result(self) -> Delivery:
        """Return what was sent; raises what ended the task."""
        if self._error is not None:
            raise self._error
        return self.sent


def _slices(batch: pa.RecordBatch, rows: int = 100) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
