"""How far the topics reach: the first offset that Kafka still has and the one after its last."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from nextreel import errors
from nextreel.kafka.topics import QUIET

#: By topic and partition: (low, high), both offsets; the partition is empty where they are equal.
Watermarks = dict[str, dict[int, tuple[int, int]]]

_SECONDS = 10.0
_METADATA_SECONDS = 5.0

# Tansu 0.6 answers ListOffsets with the last batch's *first* offset plus one, so that the rest of that batch would
# seem not to be there yet. The high watermark in its fetch responses is right.
_LISTS_BATCH_STARTS = "tansu_cluster"


class WatermarkReader:
    """Asks one cluster for its watermarks, over one connection that it keeps."""

    def __init__(self, client_config: Mapping[str, str]):
        self._bootstrap = client_config.get("bootstrap.servers", "")
        config: dict[str, Any] = {**client_config, **QUIET, "group.id": "nextreel-watermarks"}
        config |= {"enable.auto.commit": "false", "fetch.wait.max.ms": "10", "enable.partition.eof": "true"}
        try:
            self._consumer = Consumer(config)
        except KafkaException as error:
            raise errors.KafkaError(f"Kafka at {self._bootstrap}: {error.args[0].str()}") from None
        self._topics: dict[str, tuple[float, list[int]]] = {}  # topic -> when asked, partitions
        self._known: dict[tuple[str, int, int], int] = {}  # (topic, partition, listed high) -> true high

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._consumer.close()

    def read(self, topics: Iterable[str]) -> Watermarks:
        """Return the watermarks of every partition of ``topics``.

        Raises `errors.KafkaError` for a broker that does not answer and for a topic that does not exist.
        """
        try:
            found = {topic: self._topic(topic) for topic in topics}
            return self._corrected(found)
        except KafkaException as error:
            raise errors.KafkaError(f"Kafka at {self._bootstrap}: {error.args[0].str()}") from None

    def _topic(self, topic: str) -> dict[int, tuple[int, int]]:
        return {
            partition: self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
            for partition in self._partitions(topic)
        }

    def _partitions(self, topic: str) -> list[int]:
        """Return a topic's partitions, asked for anew from time to time: they may become more."""
        known = self._topics.get(topic)
        if known is None or time.monotonic() - known[0] > _METADATA_SECONDS:
            cluster = self._consumer.list_topics(topic, timeout=_SECONDS)
            self._cluster_id = cluster.cluster_id
            metadata = cluster.topics[topic]
            if metadata.error is not None:
                raise errors.KafkaError(
                    f"topic {topic!r}: {metadata.error.str()}. `nextreel topics` creates the topics."
                )
            known = self._topics[topic] = (time.monotonic(), sorted(metadata.partitions))
        return known[1]

    def _corrected(self, found: Watermarks) -> Watermarks:
        """Replace the high watermarks by those of fetch responses where the listed ones cannot be trusted."""
        if self._cluster_id != _LISTS_BATCH_STARTS:
            return found
        listed = {(t, p, high) for t, ps in found.items() for p, (low, high) in ps.items() if high > low}
        self._known = {k: v for k, v in self._known.items() if k in listed}
        self._known |= self._fetched(listed - self._known.keys())
        return {
            t: {p: (low, self._known.get((t, p, high), high)) for p, (low, high) in ps.items()}
            for t, ps in found.items()
        }

    def _fetched(self, listed: set[tuple[str, int, int]]) -> dict[tuple[str, int, int], int]:
        """Return the high watermarks of fetch responses, asked at the last batch that is listed."""
        missing = {(t, p): high for t, p, high in listed}
        if not missing:
            return {}
        self._consumer.assign([TopicPartition(t, p, high - 1) for (t, p), high in missing.items()])
        found = {}
        for _ in range(int(_SECONDS / 0.1)):
            for message in self._consumer.consume(len(missing), timeout=0.1):
                place = (message.topic(), message.partition())
                # The end is an answer as good as a message: a transaction's marker is none, and may come last.
                ended = message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF
                if place in missing and (message.error() is None or ended):
                    _, high = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
                    found[*place, missing.pop(place)] = max(high, message.offset() + (not ended))
                    self._consumer.incremental_unassign([TopicPartition(*place)])
            if not missing:
                break
        self._consumer.unassign()
        if missing:
            raise errors.KafkaError(f"Kafka at {self._bootstrap} did not answer a fetch of {sorted(missing)}")
        return found
