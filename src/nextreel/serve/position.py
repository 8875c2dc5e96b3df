"""How far a follower has come in the topics: offsets, and its lag in messages and in seconds.

One thread writes; any thread reads. Nothing here asks Kafka: ends come with what the consumer fetches anyway, and from
the follower's look at the topics every 15 s.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from nextreel.kafka.watermarks import Watermarks

#: A topic and one of its partitions.
Place = tuple[str, int]

#: A state that was compared with the topics less than this ago, and was complete, has no lag.
_AT_ONCE_SECONDS = 1.0


@dataclass
class _Partition:
    """Where a partition stands. Times are in seconds since 1970."""

    reached: int
    end: int
    #: Messages below the high watermark that nobody can read yet: they follow an open transaction.
    unreadable: int = 0
    #: When all messages that were known then were applied.
    complete_at: float = -inf
    #: The Kafka time of the message that was applied last.
    applied_at: float = -inf


class Position:
    """The offsets that a state has reached, and how far that is behind the topics."""

    def __init__(self, offsets: Mapping[Place, int]):
        """Begin at ``offsets``; other partitions begin where Kafka does."""
        self._offsets = dict(offsets)
        self._partitions: dict[Place, _Partition] = {}
        self._began_at = self._looked_at = time.time()
        #: Whether Kafka did not answer when it was last asked: the lag in messages is then not known.
        self.is_unknown = False

    def start(self, ends: Watermarks) -> dict[Place, int]:
        """Return the offset to read each partition from: where it was, or where Kafka begins.

        An offset that Kafka does not have is of messages that it deleted, or of another topic with that name.
        """
        partitions, now = {}, time.time()
        for topic, marks in ends.items():
            for partition, (low, high) in marks.items():
                place = topic, partition
                reached = self._offsets.get(place, low)
                reached = self._offsets[place] = reached if low <= reached <= high else low
                known = self._partitions.get(place)
                partitions[place] = known or _Partition(reached, high, complete_at=now if reached >= high else -inf)
                partitions[place].reached, partitions[place].end = reached, high
        self._partitions = partitions
        return {place: partition.reached for place, partition in partitions.items()}

    def forget(self, topics: Iterable[str]) -> None:
        """Begin topics where Kafka does: what was reached is of other topics with these names."""
        gone = set(topics)
        self._offsets = {place: offset for place, offset in self._offsets.items() if place[0] not in gone}
        self._partitions = {place: each for place, each in self._partitions.items() if place[0] not in gone}

    def advance(self, place: Place, offset: int, kafka_ms: int | None = None) -> None:
        """Take it that messages before ``offset`` are applied; the last of them has the Kafka time ``kafka_ms``."""
        self._offsets[place] = offset
        partition = self._partitions.setdefault(place, _Partition(offset, offset))
        partition.reached = offset
        partition.end = max(partition.end, offset)
        if kafka_ms is not None and 0 < kafka_ms <= time.time() * 1e3:  # others say nothing of when it was sent
            partition.applied_at = kafka_ms / 1e3

    def look(self, high_watermarks: Mapping[Place, int]) -> None:
        """Compare with the high watermarks that came with the last fetches, of some or all partitions."""
        now = time.time()
        for place, partition in self._partitions.items():
            partition.end = max(partition.end, high_watermarks.get(place, -1) - partition.unreadable)
            if partition.reached >= partition.end:
                partition.complete_at = now
        self._looked_at = now
        self.is_unknown = False

    def correct(self, ends: Watermarks, high_watermarks: Mapping[Place, int]) -> None:
        """Take the ends of what can be read now, and the high watermarks as they were a moment before.

        These differ by the messages from an open transaction on.
        """
        for place, partition in self._partitions.items():
            _, end = ends.get(place[0], {}).get(place[1], (0, partition.end))
            partition.unreadable = max(0, high_watermarks.get(place, -1) - end)
            partition.end = max(end, partition.reached)

    def lose(self) -> None:
        """Take it that Kafka does not answer: what was complete counts as complete, and what was not falls behind."""
        self._looked_at = time.time()
        self.is_unknown = True

    def is_past(self, ends: Watermarks) -> bool:
        """Tell whether all messages before ``ends`` are applied."""
        return all(
            self._offsets.get((topic, partition), low) >= high
            for topic, marks in ends.items()
            for partition, (low, high) in marks.items()
        )

    @property
    def places(self) -> list[Place]:
        """The partitions that are followed."""
        return list(self._partitions)

    @property
    def reached(self) -> dict[Place, int]:
        """The offset after the last message applied, by partition."""
        return {place: partition.reached for place, partition in list(self._partitions.items())}

    @property
    def lag_messages(self) -> int:
        """The number of offsets between what is applied and the known ends of the topics."""
        return sum(max(0, each.end - each.reached) for each in list(self._partitions.values()))

    @property
    def complete_at(self) -> float:
        """The time, in seconds since 1970, up to which all messages are applied: at the latest when it last looked.

        What was sent after that may be missing. Where nothing is known of the messages that are not applied, it is the
        time at which following began.
        """
        known = self.applied_until
        return known if known > -inf else min(self._looked_at, self._began_at)

    @property
    def applied_until(self) -> float:
        """The same, but minus infinity where nothing is known of the messages that are not applied.

        The oldest of them was sent after the last one that is applied, and after the moment at which none was left.
        """
        behind = [each for each in list(self._partitions.values()) if each.reached < each.end]
        oldest = min((max(each.complete_at, each.applied_at) for each in behind), default=inf)
        return min(self._looked_at, oldest)

    @property
    def lag_seconds(self) -> float:
        """The age of the oldest message that is not applied, in seconds; 0 where none is known."""
        lag = time.time() - self.complete_at
        return lag if lag >= _AT_ONCE_SECONDS else 0.0

    def messages_behind(self, other: "Position") -> float:
        """Return the number of offsets that another position is ahead; infinity before this one has begun."""
        own = self.reached
        return sum(max(0, offset - own[place]) if place in own else inf for place, offset in other.reached.items())
