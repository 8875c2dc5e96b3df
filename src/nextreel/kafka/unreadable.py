"""Batches that librdkafka cannot read: which errors report them, and where the messages behind them begin.

A producer compresses messages in batches. Where a batch does not unpack, librdkafka reports an error and fetches the
same batch again, for every offset in it: a consumer never gets past it by itself.
"""

import time
from collections.abc import Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as ClientError

from nextreel.errors import KafkaError
from nextreel.kafka.client import Heard, new_client, passes

#: Settings for consumers of topics that others write to. librdkafka gives up unpacking a batch between half of this
#: size and all of it, and its default of 100 MB is less than a producer reaches with 60 padded messages.
UNPACKING = {"receive.message.max.bytes": str(256 * 2**20)}

#: Errors of one batch. The message that carries one has the offset of the batch's first message.
_UNREADABLE = {ClientError._BAD_COMPRESSION, ClientError._BAD_MSG}

_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.2

_PROBE = {
    "group.id": "nextreel-unreadable",
    "enable.auto.commit": "false",
    "enable.partition.eof": "true",
    # Beyond the end and before the beginning there is nothing to read: the probe must not go elsewhere.
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": "50",
}


def is_unreadable(error: ClientError) -> bool:
    """Return whether an error reports a batch that cannot be read, now or later."""
    return error.code() in _UNREADABLE


def first_readable(
    client: Mapping[str, str], topic: str, partition: int, offset: int, timeout_seconds: float = _TIMEOUT_SECONDS
) -> int:
    """Return the first offset from ``offset`` on that is not in the unreadable batch at ``offset``.

    It is ``offset`` itself if the batch there can be read after all, and the partition's end if nothing follows the
    batch. Another unreadable batch may begin at the offset returned. ``client`` are the settings of a librdkafka
    client; the size up to which it unpacks batches must be that of the consumer that failed.

    Raises `KafkaError` if Kafka does not answer a probe for ``timeout_seconds``.
    """
    base = _damaged(_probe(client, topic, partition, offset, timeout_seconds))
    if base is None:
        return offset
    inside, behind, step = offset, -1, 1
    while behind < 0 or behind - inside > 1:
        candidate = inside + step if behind < 0 else (inside + behind) // 2
        found = _damaged(_probe(client, topic, partition, candidate, timeout_seconds))
        if found is None:
            behind = candidate
        elif found > base:
            behind = min(candidate, found)  # of another unreadable batch, which begins there
        else:
            inside, step = candidate, 2 * step
    return behind


def _damaged(answer: Message | None) -> int | None:
    """Return the first offset of the batch that an answer reports as unreadable, None if it reports none."""
    if answer is None or answer.error() is None or not is_unreadable(answer.error()):
        return None
    first: int = answer.offset()
    return first


def _probe(
    client: Mapping[str, str], topic: str, partition: int, offset: int, timeout_seconds: float
) -> Message | None:
    """Return what a new consumer reads first at an offset: a message, the partition's end, or an error that stays.

    Returns None beyond the end of a partition of the embedded broker.

    The consumer is new for each probe because librdkafka fetches from a partition with an error only after a pause.
    """
    place = TopicPartition(topic, partition, offset)
    heard, deadline = Heard(), time.monotonic() + timeout_seconds
    try:
        with closing(new_client(Consumer, UNPACKING | dict(client) | _PROBE, heard)) as consumer:
            consumer.assign([place])
            while time.monotonic() < deadline:
                answer = consumer.poll(_POLL_SECONDS)
                if answer is None:
                    _, high = consumer.get_watermark_offsets(place, cached=True)
                    if 0 <= high <= offset:  # the embedded broker reports no error beyond the end
                        return None
                    continue
                error = answer.error()
                if error is None or not passes(error):
                    _check(error, topic, partition, offset)
                    return answer
                heard(error)
    except KafkaException as error:
        raise KafkaError(f"{topic} partition {partition}: {heard.beside(error.args[0].str())}") from None
    silence = f"no answer for {timeout_seconds:.0f} s at offset {offset:,}"
    raise KafkaError(heard.beside(f"{topic} partition {partition}: {silence}"))


def _check(error: ClientError | None, topic: str, partition: int, offset: int) -> None:
    """Raise `KafkaError` for an error that says nothing of what is at an offset, such as a missing right."""
    expected = (ClientError._PARTITION_EOF, ClientError._AUTO_OFFSET_RESET)
    if error is not None and error.code() not in expected and not is_unreadable(error):
        raise KafkaError(f"{topic} partition {partition} offset {offset:,}: {error.str()}")
