"""From `produce` to readable in the lake: how old each message is when a plain glob first sees it.

There is no peer to run beside it, so ``peers`` is empty.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.brokers import add_apache, running_broker
from nextreel.events.contract import EVENT_TYPES
from nextreel.events.encode import encode
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake.layout import BATCHES, SCHEMAS, Lake
from nextreel.lake.locks import names_kept
from nextreel.settings import load

_WARM_UP_SECONDS = 15.0
_POLL_SECONDS = 0.02


def run(arguments: list[str]) -> dict[str, Any]:
    """Produce at a steady rate while an ingest runs and a reader watches."""
    parser = argparse.ArgumentParser(prog="./run bench latency")
    parser.add_argument("--rate", type=float, default=5e6, help="bytes of JSON a second")
    parser.add_argument("--seconds", type=float, default=300.0)
    add_apache(parser)
    given = parser.parse_args(arguments)
    with running_broker(given.apache) as bootstrap, tempfile.TemporaryDirectory() as home:
        create_topics(load({"kafka.bootstrap": bootstrap}, {}).kafka)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
        environment |= {"NEXTREEL_KAFKA_BOOTSTRAP": bootstrap, "NEXTREEL_HOME": home}
        produce = [sys.executable, "-m", "benchmarks.latency", bootstrap, str(given.rate)]
        ingest, quiet = [sys.executable, "-m", "nextreel", "ingest"], subprocess.DEVNULL
        children = [subprocess.Popen(c, env=environment, stdout=quiet, stderr=quiet) for c in (ingest, produce)]
        try:
            ages = _watch(Lake(Path(home) / "lake"), given.seconds)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(30)
        phases = _phases(Lake(Path(home) / "lake"))
    p50, p95, p99 = np.percentile(ages, [50, 95, 99])
    return {
        "ours": {
            "p50_seconds": round(float(p50), 3),
            "p95_seconds": round(float(p95), 3),
            "p99_seconds": round(float(p99), 3),
            "messages": len(ages),
            "messages_per_second": round(len(ages) / given.seconds),
            "phases": phases,
        },
        "peers": {},
        "ratios": {},
    }


def _watch(lake: Lake, seconds: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the age, in seconds, of every message that becomes readable within ``seconds`` after the warm-up."""
    seen: set[Path] = set()
    ages = []
    while not any(lake.files(table) for table in SCHEMAS):
        time.sleep(_POLL_SECONDS)
    began = time.time() + _WARM_UP_SECONDS
    while time.time() < began + seconds:
        with names_kept(lake):
            found = _brought(lake) - seen
            now = time.time()
            seen |= found
            if now >= began:
                ages += [now - _sent(file) for file in found]
        time.sleep(_POLL_SECONDS)
    return np.concatenate(ages)


def _sent(file: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return when the messages of a file were produced, in seconds since 1970."""
    produced = pq.ParquetFile(file).read(["kafka_timestamp"])["kafka_timestamp"]
    seconds: np.ndarray[Any, np.dtype[np.float64]] = produced.cast(pa.int64()).to_numpy() / 1e6
    return seconds


def _brought(lake: Lake) -> set[Path]:
    """Return the files that micro-batches have brought: those that were merged from them hold nothing new."""
    days = (day for table in SCHEMAS for day in lake.table(table).glob("date=*"))
    return {day / name for day in days for name in os.listdir(day) if not name.startswith("merged-")}


def _phases(lake: Lake) -> dict[str, float]:
    """Return the median seconds of a micro-batch's phases, by what the ingest has told of itself."""
    found = pa.concat_tables(pq.ParquetFile(f).read() for f in lake.files(BATCHES))
    names = ["seconds", *(name for name in found.column_names if name.endswith("_seconds"))]
    medians = {name.removesuffix("_seconds"): pc.approximate_median(found[name]).as_py() for name in names}
    return {name: round(value, 3) for name, value in medians.items() if value is not None}


def show(result: dict[str, Any]) -> None:
    """Print the percentiles."""
    ours = result["ours"]
    print(f"  {ours['messages']:,} messages, {ours['messages_per_second']:,} a second")
    print(f"  readable after p50 {ours['p50_seconds']} s, p95 {ours['p95_seconds']} s, p99 {ours['p99_seconds']} s")
    print("  a micro-batch, seconds: " + ", ".join(f"{name} {value}" for name, value in ours["phases"].items()))


def _produce(bootstrap: str, rate: float, **client: str) -> None:
    settings = load({"kafka.bootstrap": bootstrap} | {f"kafka.client.{k}": v for k, v in client.items()}, {})
    world = World(WorldConfig(end=datetime(2026, 1, 1, tzinfo=UTC)))
    producer = EventProducer(settings.kafka, rate)
    topics = topics_by_type(settings.kafka)
    # Messages are made beforehand: they would come from other machines, and not be encoded on this one.
    ready = {e: _encoded(world.events(e, 0, 20_000)) for e in EVENT_TYPES}
    for start in itertools.cycle(range(0, 20_000, 200)):
        for event_type in EVENT_TYPES:
            producer.send_raw(topics[event_type], ready[event_type][start : start + 200])


def _encoded(events: pa.RecordBatch) -> list[tuple[bytes, bytes]]:
    """Return events as Kafka has them: keys and values."""
    keys = (key.encode() for key in events.column("id").to_pylist())
    return list(zip(keys, encode(events).to_pylist(), strict=True))


if __name__ == "__main__":
    _produce(sys.argv[1], float(sys.argv[2]), **dict(setting.split("=") for setting in sys.argv[3:]))
