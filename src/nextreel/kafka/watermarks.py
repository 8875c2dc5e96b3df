"""How far the topics reach: the first offset that Kafka still has and the one after its last."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from nextreel import errors
from nextreel.kafka.client import Heard, new_client, passes, refused
from nextreel.kafka.topics import missing

#: By topic and partition: (low, high), both offsets; the partition is empty where they are equal.
Watermarks = dict[str, dict[int, tuple[int, int]]]

_Asked = dict[TopicPartition, Any]  # by place, the future answer

_SECONDS = 10.0
_METADATA_SECONDS = 5.0
#: Between two attempts: this at first, then twice as long each time.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0

# Tansu 0.6 answers ListOffsets with the last batch's *first* offset plus one, so that the rest of that batch would
# seem not to be there yet; and the more batches it holds, the longer that takes. A fetch from far beyond the end is
# answered at once: with no message, and with the high watermark. As it deletes nothing, its first offsets stay.
TANSU = "tansu_cluster"
_BEYOND = 2**62

_UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}


class WatermarkReader:
    """Asks one cluster for its watermarks, over connections that it keeps.

    A cluster that has answered once is asked again for ``patience_seconds`` where it stops answering; one that never
    has, for no longer than 10 s.
    """

    def __init__(self, config: Mapping[str, str], patience_seconds: float = _SECONDS):
        self._config = dict(config)
        self._bootstrap = config.get("bootstrap.servers", "")
        self._patience = patience_seconds
        self._heard = Heard()
        self._answered = False
        self._cluster_id: str | None = None
        self._partitions: dict[str, list[int]] = {}
        self._partitions_at = 0.0
        self._lows: dict[TopicPartition, int] = {}
        self.topic_ids: dict[str, str] = {}  #: Of the topics read last, by name; others where one was made anew.
        committed = config.get("isolation.level") != "read_uncommitted"
        self._isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        self._admin = self._new_admin()

    def read(self, topics: Iterable[str]) -> Watermarks:
        """Return the watermarks of every partition of ``topics``.

        Raises `errors.KafkaError` for a broker that does not answer and for a topic that does not exist.
        """
        wanted = list(topics)
        patience = self._patience if self._answered else min(self._patience, _SECONDS)
        deadline = time.monotonic() + patience
        pause = _PAUSE_SECONDS
        while True:
            try:
                found = self._marks(wanted, deadline)
            except KafkaException as error:
                self._forget()
                if not self._is_worth_waiting(error.args[0]) or time.monotonic() + pause >= deadline:
                    raise self._given_up(error, patience) from None
                # A client whose broker was killed or stopped can wait for its controller long after the broker is back.
                self._admin = self._new_admin()
            else:
                self._answered = True
                return found
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _new_admin(self) -> AdminClient:
        try:
            return new_client(AdminClient, self._config, self._heard)
        except KafkaException as error:
            raise errors.KafkaError(refused(self._bootstrap, error, self._heard)) from None

    def _is_worth_waiting(self, error: KafkaError) -> bool:
        # A broker that starts may not know its topics for a moment. At our own start, a missing topic is missing.
        return passes(error) and (self._answered or error.code() not in _UNKNOWN_TOPIC)

    def _forget(self) -> None:
        """Drop what may be of yesterday's cluster."""
        self._partitions = {}
        self._lows = {}

    def _given_up(self, error: KafkaException, patience: float) -> errors.KafkaError:
        self._admin.poll(0)  # what else it has to say
        if isinstance(error, _TopicError) and error.args[0].code() in _UNKNOWN_TOPIC:
            return missing(error.topic, error.args[0])
        waited = f", asked for {patience:.0f} s" if self._answered and passes(error.args[0]) else ""
        return errors.KafkaError(f"{refused(self._bootstrap, error, self._heard)}{waited}")

    def _marks(self, topics: Sequence[str], deadline: float) -> Watermarks:
        places = [TopicPartition(t, p) for t, ps in self._described(topics, deadline).items() for p in ps]
        if self._cluster_id == TANSU:
            highs = self._fetched(places, deadline)
        else:
            highs = _answers(self._offsets(places, OffsetSpec.latest(), deadline))
        if self._lows.keys() != set(places):
            self._lows = _answers(self._offsets(places, OffsetSpec.earliest(), deadline))
        found: Watermarks = {topic: {} for topic in topics}
        for place in places:
            found[place.topic][place.partition] = (self._lows[place], highs[place])
        return found

    def _offsets(self, places: Sequence[TopicPartition], spec: OffsetSpec, deadline: float) -> _Asked:
        """Send one request to each broker for what it has of ``places``."""
        asked: _Asked = self._admin.list_offsets(
            dict.fromkeys(places, spec), isolation_level=self._isolation, request_timeout=_until(deadline)
        )
        return asked

    def _described(self, topics: Sequence[str], deadline: float) -> dict[str, list[int]]:
        """Return the topics' partitions, asked for anew from time to time: they may become more."""
        if self._partitions.keys() != set(topics) or time.monotonic() - self._partitions_at > _METADATA_SECONDS:
            # Not list_topics: of an admin client it may create the topics that it is asked for.
            asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=_until(deadline))
            found, ids = {}, {}
            for topic, future in asked.items():
                try:
                    told = future.result()
                except KafkaException as error:
                    raise _TopicError(topic, error.args[0]) from None
                found[topic], ids[topic] = sorted(partition.id for partition in told.partitions), str(told.topic_id)
                if not found[topic]:
                    raise _TopicError(topic, KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"no partition of {topic!r}"))
            self._cluster_id = self._cluster_id or self._admin.cluster_id(timeout=_until(deadline))
            self._partitions, self._partitions_at, self.topic_ids = found, time.monotonic(), ids
            if self._cluster_id != TANSU:
                self._lows = {}
            self._admin.poll(0)  # what it has heard meanwhile would heap up
        return self._partitions

    def _fetched(self, places: Sequence[TopicPartition], deadline: float) -> dict[TopicPartition, int]:
        """Return the high watermarks of fetch responses.

        A new consumer each time, which costs 3 ms: librdkafka 2.16 crashes when a topic that one knows is made anew.
        """
        ours = {"group.id": "nextreel-watermarks", "enable.auto.commit": "false", "auto.offset.reset": "error"}
        config = self._config | ours | {"fetch.wait.max.ms": "1"}
        unanswered, found = set(places), {}
        until = time.monotonic() + _until(deadline)
        with closing(new_client(Consumer, config, self._heard)) as consumer:
            consumer.assign([TopicPartition(place.topic, place.partition, _BEYOND) for place in places])
            while unanswered and time.monotonic() < until:
                for message in consumer.consume(len(places), timeout=0.002):
                    raise KafkaException(message.error())  # there is nothing else to come from there
                for place in list(unanswered):
                    _, high = consumer.get_watermark_offsets(place, cached=True)
                    if high >= 0:
                        found[place] = high
                        unanswered.remove(place)
        if unanswered:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer to a fetch of {sorted(unanswered)}"))
        return found


class _TopicError(KafkaException):  # type: ignore[misc]
    """What the broker says of one topic."""

    def __init__(self, topic: str, error: KafkaError):
        super().__init__(error)
        self.topic = topic


def _answers(asked: _Asked) -> dict[TopicPartition, int]:
    """Wait for the answers. Raises `KafkaException`."""
    found = {place: answer.result().offset for place, answer in asked.items()}
    for place, offset in found.items():
        if offset < 0:  # librdkafka 2.16 takes a connection that was cut for an answer without an offset
            raise KafkaException(
                KafkaError(KafkaError._TRANSPORT, f"no offset of {place.topic} partition {place.partition}")
            )
    return found


def _until(deadline: float) -> float:
    """Return how long one request may take, in seconds."""
    return max(0.1, min(_SECONDS, deadline - time.monotonic()))
