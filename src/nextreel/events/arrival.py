"""The clock that event times are judged by: when a message arrived, and the last event time that it may have.

Ingest, the server's follower, API writes, replays and files use these functions alone, so that they decide alike.

A message arrived when Kafka's timestamp says: the producer's clock (CreateTime) or the broker's (LogAppendTime). That
makes the decision a property of the message: every reader comes to the same one, whenever it reads. A timestamp before
`EARLIEST_ARRIVAL` (-1, 1, seconds taken for milliseconds) or further ahead of the reader's clock than the skew
(microseconds, 2^62, a producer's clock a year ahead) counts as unknown; then the message arrived when it is read.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Micros = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: Kafka's first release is of January 2011: no message is older.
EARLIEST_ARRIVAL = datetime(2011, 1, 1, tzinfo=UTC)

#: The microseconds since 1970 between which Python, pandas and Spark have dates: the lake keeps no Kafka timestamp
#: beyond them. `UNDATED` orders such events, in milliseconds, before all others of the same event time.
DATES_BEGIN, DATES_END = -62_135_596_800_000_000, 253_402_300_800_000_000
UNDATED = -(2**63)

#: The default of `contract.max_clock_skew_seconds`.
MAX_CLOCK_SKEW_SECONDS = 900


def micros_of(moment: datetime) -> int:
    """Return a moment in microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    """Return the moment that lies ``micros`` microseconds after 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def arrivals(kafka_ms: Micros, read_at: datetime, max_skew_seconds: float) -> Micros:
    """Return when messages arrived (n,), in microseconds since 1970.

    ``kafka_ms`` (n,) are Kafka's timestamps in milliseconds since 1970, any 64-bit number; ``read_at`` is when the
    messages are read.
    """
    read = micros_of(read_at)
    first, last = micros_of(EARLIEST_ARRIVAL) // 1000, (read + round(max_skew_seconds * 1e6)) // 1000
    known = (kafka_ms >= first) & (kafka_ms <= last)
    return np.where(known, np.where(known, kafka_ms, 0) * 1000, read)


def latest_event_times(kafka_ms: Micros, read_at: datetime, max_skew_seconds: float) -> Micros:
    """Return the last event times that messages may have (n,), in microseconds since 1970; see `arrivals`."""
    return arrivals(kafka_ms, read_at, max_skew_seconds) + round(max_skew_seconds * 1e6)


def latest_event_time(arrival: datetime, max_skew_seconds: float) -> datetime:
    """Return the last event time of a message that arrives at ``arrival``: of one that is about to be sent."""
    return arrival + timedelta(seconds=max_skew_seconds)


def order_of(kafka_ms: int) -> int:
    """Return what decides between events of one event time: Kafka's timestamp, `UNDATED` where the lake has null."""
    return kafka_ms if DATES_BEGIN <= kafka_ms * 1000 < DATES_END else UNDATED
