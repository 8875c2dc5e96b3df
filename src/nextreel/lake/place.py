"""Where a message was in Kafka."""

from dataclasses import dataclass
from typing import Self

from nextreel.errors import InputError


@dataclass(frozen=True, order=True)
class Place:
    """Where a message was in Kafka; as text ``topic/partition/offset``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` has written. Raises `InputError`."""
        topic, *numbers = text.rsplit("/", 2)
        if not topic or len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
            raise InputError(f"{text!r} is no place: that is topic/partition/offset, as producer1_topic/0/17")
        return cls(topic, int(numbers[0]), int(numbers[1]))
