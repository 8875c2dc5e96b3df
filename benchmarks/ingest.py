"""From Kafka to Parquet: our ingest beside the standard Spark query, on the same messages in the same run.

The standard query is Spark's `from_json` with the contract's schema into Spark's own Parquet sink (zstd), one table for
all types, without validation or quarantine. It reads through the same Python source, and its JVM
runs with Spark's options, both compilers included; ours runs as it is shipped. Each run is a process of its own; the
first micro-batch is the cold figure, the others together the warm one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.brokers import add_apache, running_broker
from nextreel.events.contract import EVENT_TYPES, FIELDS, TABLES, EventType
from nextreel.events.encode import encode
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.settings import Settings, load

_BATCH = 400_000


def run(arguments: list[str]) -> dict[str, Any]:
    """Fill the topics once, then let each pipeline drain them ``--rounds`` times, in turns."""
    parser = argparse.ArgumentParser(prog="./run bench ingest")
    parser.add_argument("--messages", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--original", action="store_true", help="users, movies and series alone")
    add_apache(parser)
    given = parser.parse_args(arguments)
    with running_broker(given.apache) as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap}, {})
        create_topics(settings.kafka)
        sent = _fill(settings, given.messages, EVENT_TYPES[:3] if given.original else EVENT_TYPES)
        rounds: dict[str, list[dict[str, Any]]] = {"ours": [], "standard": []}
        for i in range(given.rounds):
            for name in rounds:
                rounds[name].append(_in_a_process(name, bootstrap, Path(home, f"{name}-{i}"), sent["messages"]))
    mean_bytes = sent["bytes"] / sent["messages"]
    ours, standard = (_medians(rounds[name], mean_bytes) for name in ("ours", "standard"))
    parts = alone(given.apache)
    return {
        "messages": sent | {"bytes_each": round(mean_bytes), "broker": "apache" if given.apache else "embedded"},
        "ours": ours | {"smaller": round(1 - rounds["ours"][0]["bytes"] / sent["bytes"], 3), "alone": parts},
        "peers": {
            "spark_from_json": standard | {"smaller": round(1 - rounds["standard"][0]["bytes"] / sent["bytes"], 3)}
        },
        "ratios": {
            "spark_from_json": round(ours["rows_per_second"] / standard["rows_per_second"], 2),
            "spark_from_json_cold": round(ours["cold_rows_per_second"] / standard["cold_rows_per_second"], 2),
        },
    }


def _fill(settings: Settings, n: int, types: tuple[EventType, ...]) -> dict[str, int]:
    """Send ``n`` messages, as many bytes of each type, and return how many of both."""
    world = World(WorldConfig(end=datetime(2016, 1, 1, tzinfo=UTC)))
    size = {e: pc.mean(pc.binary_length(encode(world.events(e, 0, 2000)))).as_py() for e in types}
    share = {e: 1 / size[e] / sum(1 / s for s in size.values()) for e in types}
    producer = EventProducer(settings.kafka)
    for event_type in types:
        count = round(n * share[event_type])
        for start in range(0, count, 10_000):
            batch = world.events(event_type, start, min(10_000, count - start))
            producer.send(topics_by_type(settings.kafka)[event_type], batch)
    producer.flush()
    return {"messages": producer.delivery.delivered, "bytes": producer.delivery.bytes}


def _in_a_process(name: str, bootstrap: str, home: Path, messages: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingest", name, bootstrap, str(home), str(messages)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _medians(rounds: list[dict[str, Any]], mean_bytes: float) -> dict[str, Any]:
    warm = [sum(r["rows"][1:]) / sum(r["seconds"][1:]) for r in rounds]
    cold = [r["rows"][0] / r["seconds"][0] for r in rounds]
    return {
        "rows_per_second": round(statistics.median(warm)),
        "megabytes_per_second": round(statistics.median(warm) * mean_bytes / 1e6, 1),
        "cold_rows_per_second": round(statistics.median(cold)),
        "rows_per_second_all_rounds": [round(w) for w in warm],
    }


def ours(settings: Settings, messages: int) -> dict[str, Any]:
    """Drain the topics by our ingest."""
    from nextreel.ingest.query import Batch, start_ingest
    from nextreel.lake.session import running_spark

    batches: list[Batch] = []
    with running_spark(settings) as spark:
        query = start_ingest(spark, settings, batches.append, available_now=True)
        query.awaitTermination()
        seconds = _seconds(query.recentProgress)
    rows = [b.accepted + b.rejected for b in batches]
    _all_there(sum(rows), messages)
    return {"rows": rows, "seconds": seconds, "bytes": sum(b.bytes for b in batches)}


def standard(settings: Settings, messages: int) -> dict[str, Any]:
    """Drain the topics by `from_json` and Spark's Parquet sink."""
    from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

    from nextreel.ingest.query import read_topics
    from nextreel.lake.session import running_spark

    kinds = {"string": "string", "strings": "array<string>", "number": "double", "timestamp": "timestamp"}
    schema = ", ".join(f"{f.name} {kinds[f.kind]}" for f in FIELDS)
    conf = settings.spark.model_copy(update={"conf": {"spark.driver.extraJavaOptions": "-Xss8m"}})
    lake = settings.home / "standard"
    with running_spark(settings.model_copy(update={"spark": conf})) as spark:
        spark.conf.set("spark.sql.parquet.compression.codec", "zstd")
        query = (
            read_topics(spark, settings)
            .select(
                F.from_json(F.col("value").cast("string"), schema).alias("event"),
                F.col("topic").alias("kafka_topic"),
                F.col("partition").alias("kafka_partition"),
                F.col("offset").alias("kafka_offset"),
                F.col("timestamp").alias("kafka_timestamp"),
            )
            .select("event.*", "kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp")
            .writeStream.format("parquet")
            .option("path", str(lake))
            .option("checkpointLocation", str(settings.home / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        progress = [p for p in query.recentProgress if p.numInputRows]
        rows = [p.numInputRows for p in progress]
        _all_there(spark.read.parquet(str(lake)).where("id is not null").count(), messages)
    return {
        "rows": rows,
        "seconds": _seconds(progress),
        "bytes": sum(f.stat().st_size for f in lake.glob("*.parquet")),
    }


def _all_there(found: int, expected: int) -> None:
    if found != expected:
        raise SystemExit(f"{found:,} rows of {expected:,} messages")


def _seconds(progress: list[Any]) -> list[float]:
    return [p.durationMs["triggerExecution"] / 1e3 for p in progress if "addBatch" in p.durationMs]


def alone(apache: bool = False) -> dict[str, dict[str, float]]:
    """Return what each part of the work takes by itself, on one core: microseconds a message, by type."""
    from nextreel.ingest.consume import KafkaRange, read_ranges
    from nextreel.ingest.parse import parse
    from nextreel.lake.layout import Lake
    from nextreel.lake.write import stage

    world = World(WorldConfig(end=datetime(2016, 1, 1, tzinfo=UTC)))
    n, now = 50_000, datetime.now(UTC)
    found: dict[str, dict[str, float]] = {}
    with running_broker(apache) as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap, "kafka.partitions": "1"}, {})
        create_topics(settings.kafka)
        for event_type, topic in topics_by_type(settings.kafka).items():
            producer = EventProducer(settings.kafka)
            for start in range(0, n, 10_000):
                producer.send(topic, world.events(event_type, start, 10_000))
            producer.flush()
            wanted = [KafkaRange(topic, 0, 0, n)]
            list(read_ranges(settings.kafka.client_config, wanted))
            consume, blocks = _timed(lambda: list(read_ranges(settings.kafka.client_config, wanted)))  # noqa: B023
            parsing, parsed = _timed(lambda: [parse(b, {topic: event_type}, now) for b in blocks])  # noqa: B023
            rows = pa.concat_tables([p.tables[TABLES[event_type]] for p in parsed])
            writing, _ = _timed(lambda: stage(Lake(Path(home)), TABLES[event_type], "2026-01-01", rows))  # noqa: B023
            parts = {"consume": consume, "parse": parsing, "write": writing}
            found[event_type] = {name: round(seconds / n * 1e6, 2) for name, seconds in parts.items()}
    return found


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def show(result: dict[str, Any]) -> None:
    """Print both pipelines and where ours spends its time."""
    print(f"  {result['messages']['messages']:,} messages of {result['messages']['bytes_each']} bytes on average")
    for name, found in (("ours", result["ours"]), ("from_json", result["peers"]["spark_from_json"])):
        print(
            f"  {name:<9} warm {found['rows_per_second']:>8,} rows/s, {found['megabytes_per_second']:5.1f} MB/s JSON;"
            f" cold {found['cold_rows_per_second']:>7,} rows/s; {found['smaller']:.1%} smaller"
        )
    print(f"  ratio: warm {result['ratios']['spark_from_json']}, cold {result['ratios']['spark_from_json_cold']}")
    for event_type, parts in result["ours"]["alone"].items():
        print(f"  alone, µs a message: {event_type:<12}" + ", ".join(f"{k} {v}" for k, v in parts.items()))


if __name__ == "__main__":
    which, address, folder, expected = sys.argv[1:]
    given_settings = load(
        {"kafka.bootstrap": address, "home": folder, "ingest.max_offsets_per_trigger": str(_BATCH)}, {}
    )
    print(json.dumps({"ours": ours, "standard": standard}[which](given_settings, int(expected))))
