"""Batches that consumers cannot read: they unpack to more than a consumer takes."""

import json
from typing import Any

from confluent_kafka import Producer
from pydantic import SecretStr

from nextreel.settings import Settings

#: Settings of a consumer that unpacks no more than about a megabyte, so that batches of tests can be small.
SMALL = {"receive.message.max.bytes": "1100000", "fetch.max.bytes": "1000000"}
#: Settings of a producer that sends one large batch, whatever it unpacks to.
PACKING = {
    "compression.type": "zstd",
    "linger.ms": 5_000,
    "message.max.bytes": 900_000_000,
    "batch.size": 400_000_000,
    "batch.num.messages": 100_000,
    "queue.buffering.max.kbytes": 2_000_000,
}
#: What a batch unpacks to, in bytes.
_UNPACKED = 4_000_000


def unpacking_little(settings: Settings) -> Settings:
    """Return settings whose consumers cannot read what `send_unreadable` sends."""
    client = {name: SecretStr(value) for name, value in SMALL.items()}
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"client": client})})


def send_unreadable(settings: Settings, topic: str, n: int = 20, event: dict[str, Any] | None = None) -> int:
    """Send ``n`` times the same padded event to partition 0, in one batch; return the offset of the first."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap} | PACKING)
    offsets: list[int] = []
    value = json.dumps(event or {})[:-1].encode() + b" " * (_UNPACKED // n) + b"}"
    for _ in range(n):
        producer.produce(topic, value, partition=0, on_delivery=lambda _, message: offsets.append(message.offset()))
    assert producer.flush(60) == 0
    assert sorted(offsets) == list(range(min(offsets), min(offsets) + n))
    return min(offsets)
