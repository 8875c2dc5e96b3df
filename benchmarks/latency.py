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
import pyarrow.parquet as pq

from nextreel.events.contract import EVENT_TYPES
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.settings import load

_WARM_UP_SECONDS = 15.0
_POLL_SECONDS = 0.02


def run(arguments: list[str]) -> dict[str, Any]:
    """Produce at a steady rate while an ingest runs and a reader watches."""
    parser = argparse.ArgumentParser(prog="./run bench latency")
    parser.add_argument("--rate", type=float, default=5e6, help="bytes of JSON a second")
    parser.add_argument("--seconds", type=float, default=300.0)
    given = parser.parse_args(arguments)
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        create_topics(load({"kafka.bootstrap": bootstrap}, {}).kafka)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
        environment |= {"NEXTREEL_KAFKA_BOOTSTRAP": bootstrap, "NEXTREEL_HOME": home}
        produce = [sys.executable, "-m", "benchmarks.latency", bootstrap, str(given.rate)]
        ingest = [sys.executable, "-m", "nextreel.cli", "ingest"]
        children = [subprocess.Popen(c, env=environment, stderr=subprocess.DEVNULL) for c in (ingest, produce)]
        try:
            ages = _watch(Lake(Path(home) / "lake"), given.seconds)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(30)
    p50, p95, p99 = np.percentile(ages, [50, 95, 99])
    return {
        "ours": {
            "p50_seconds": round(float(p50), 3),
            "p95_seconds": round(float(p95), 3),
            "p99_seconds": round(float(p99), 3),
            "messages": len(ages),
            "messages_per_second": round(len(ages) / given.seconds),
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
        found = [f for table in SCHEMAS for f in lake.files(table) if f not in seen]
        now = time.time()
        seen.update(found)
        if now >= began:
            for file in found:
                sent = pq.read_table(file, columns=["kafka_timestamp"])["kafka_timestamp"].cast(pa.int64()).to_numpy()
                ages.append(now - sent / 1e6)
        time.sleep(_POLL_SECONDS)
    return np.concatenate(ages)


def show(result: dict[str, Any]) -> None:
    """Print the percentiles."""
    ours = result["ours"]
    print(f"  {ours['messages']:,} messages, {ours['messages_per_second']:,} a second")
    print(f"  readable after p50 {ours['p50_seconds']} s, p95 {ours['p95_seconds']} s, p99 {ours['p99_seconds']} s")


def _produce(bootstrap: str, rate: float) -> None:
    settings = load({"kafka.bootstrap": bootstrap}, {})
    world = World(WorldConfig(end=datetime(2026, 1, 1, tzinfo=UTC)))
    producer = EventProducer(settings.kafka, rate)
    topics = topics_by_type(settings.kafka)
    ready = {e: world.events(e, 0, 20_000) for e in EVENT_TYPES}  # the load is the producer's, not the generator's
    for start in itertools.cycle(range(0, 20_000, 200)):
        for event_type in EVENT_TYPES:
            producer.send(topics[event_type], ready[event_type].slice(start, 200))


if __name__ == "__main__":
    _produce(sys.argv[1], float(sys.argv[2]))
