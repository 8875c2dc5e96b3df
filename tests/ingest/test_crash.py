"""Whatever is killed, wherever it is in a micro-batch, a reader with a plain glob sees each message once or not yet."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.ingest.crashing import IN_DRIVER, IN_WORKER
from tests.waiting import until

from nextreel.events.contract import EVENT_TYPES
from nextreel.events.faults import broken
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.verify import verify
from nextreel.settings import Settings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

ROOT = Path(__file__).parents[2]
WORLD = World(WorldConfig(n_users=500, n_movies=200, n_series=100, n_interactions=20_000))

Place = tuple[str, int, int]


class Producer(threading.Thread):
    """Sends messages of all types, some of them broken, until it is told to stop."""

    def __init__(self, settings: Settings):
        super().__init__(daemon=True)  # or a failure would never end
        self._settings = settings
        self._stopped = threading.Event()
        self.sent = self.spoilt = 0

    def run(self) -> None:
        producer = EventProducer(self._settings.kafka)
        topics = topics_by_type(self._settings.kafka)
        n = 0
        while not self._stopped.wait(0.2):
            for event_type in EVENT_TYPES:
                events = WORLD.events(event_type, n % 100, 25)
                producer.send(topics[event_type], events)
                raw = [(None, spoilt) for _, spoilt in broken(events.slice(0, 2).to_pylist(), seed=n)]
                producer.send_raw(topics[event_type], raw)
                self.sent += 27
                self.spoilt += 2
            producer.flush()
            n += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()


class Reader(threading.Thread):
    """Lists the lake with a plain glob and reads all of it, over and over; a file that is as it was, once."""

    def __init__(self, lake: Lake):
        super().__init__(daemon=True)  # or a failure would never end
        self._lake = lake
        self._files: dict[tuple[Path, int, int, int], list[Place]] = {}
        self._stopped = threading.Event()
        self.reads = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        before: set[Place] = set()
        while not self._stopped.wait(0.25):
            try:
                found = [place for file in files(self._lake) for place in self._places(file)]
            except Exception as error:  # whatever a reader meets, it is a finding
                self.wrong.append(repr(error))
                return
            if len(set(found)) < len(found):
                self.wrong.append(f"{len(found) - len(set(found))} messages twice")
            if gone := before - set(found):
                self.wrong.append(f"{len(gone)} messages gone")
            before = set(found)
            self.reads += 1

    def _places(self, file: Path) -> list[Place]:
        stat = file.stat()
        key = (file, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in self._files:
            self._files[key] = places(file)
        return self._files[key]

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def files(lake: Lake) -> Iterator[Path]:
    return lake.root.glob("[!_]*/date=*/*.parquet")


def places(file: Path) -> list[Place]:
    columns = ["kafka_topic", "kafka_partition", "kafka_offset"]
    table = pq.ParquetFile(file).read(columns)
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


class Ingest:
    """The ingest as a process, and the fault points of it."""

    def __init__(self, settings: Settings, faults: Path):
        self._settings = settings
        self._faults = faults
        faults.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, how: str = "on") -> "subprocess.Popen[bytes]":
        kafka = self._settings.kafka
        flags = {"home": str(self._settings.home), "kafka.bootstrap": kafka.bootstrap}
        flags |= {f"kafka.{t}": getattr(kafka, t) for t in ("users", "movies", "series", "interactions")}
        command = [sys.executable, "-m", "tests.ingest.crashing", json.dumps(flags), how]
        environment = os.environ | {"CRASHING": str(self._faults), "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return self._process

    def crash(self, point: str) -> None:
        """Wait until somebody has died at a fault point."""
        (self._faults / point).touch()
        until(lambda: not (self._faults / point).exists(), lambda: f"nobody came by {point!r}")

    def dead(self) -> int:
        assert self._process is not None
        return self._process.wait()

    def progress(self, lake: Lake) -> None:
        """Wait until two more micro-batches are committed."""
        assert self._process is not None
        before = max((int(p.stem) for p in lake.commits.glob("*.json")), default=-1)
        until(
            lambda: max((int(p.stem) for p in lake.commits.glob("*.json")), default=-1) >= before + 2,
            lambda: f"no micro-batch after {before}",
        )

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def ingest(settings: Settings, tmp_path: Path) -> Iterator[Ingest]:
    found = Ingest(settings, tmp_path / "faults")
    yield found
    found.stop()


@pytest.mark.slow
@pytest.mark.timeout(10_800)  # the long form's, on a busy machine
def test_killed_in_every_phase_of_a_batch(settings: Settings, ingest: Ingest, n_crashes: int) -> None:
    create_topics(settings.kafka)
    lake = Lake(settings.lake)
    producer, reader = Producer(settings), Reader(lake)
    producer.start()
    reader.start()
    drawn = random.Random(n_crashes)
    points = [*IN_WORKER, *IN_DRIVER]
    points += drawn.choices(points, k=n_crashes - len(points))
    died: Counter[str] = Counter()
    try:
        ingest.start()
        for point in points:
            # A start comes by here too, as it completes the last commit; the first time it is to be a commit's own.
            in_recovery = point == "recorded" and died[point] > 0 and drawn.random() < 0.5
            if point == "recorded" and not in_recovery:
                ingest.progress(lake)
            ingest.crash(point)
            if point in IN_DRIVER:
                assert ingest.dead() == -signal.SIGKILL
                if point in ("collected", "half a record", "recorded") and not in_recovery:
                    assert any(lake.staging.glob("*.staged"))
                ingest.start()
            else:  # Spark runs a task again whose worker has died
                ingest.progress(lake)
            died[point] += 1
        ingest.progress(lake)
    finally:
        producer.stop()
        ingest.stop()
    assert ingest.start("once").wait() == 0
    reader.stop()

    assert reader.wrong == []
    assert reader.reads > n_crashes
    assert died.total() == n_crashes
    assert set(died) == {*IN_WORKER, *IN_DRIVER}
    found = [place for file in files(lake) for place in places(file)]
    assert len(found) == len(set(found)) == producer.sent
    assert sum(pq.read_metadata(f).num_rows for f in lake.files(QUARANTINE)) == producer.spoilt
    assert verify(lake, deep=True).problems == []
    assert list(lake.staging.iterdir()) == []
    assert {f.parent.parent.name for t in SCHEMAS for f in lake.files(t)} == set(SCHEMAS)
