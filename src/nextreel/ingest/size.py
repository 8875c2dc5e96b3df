"""How large messages are: Kafka's offsets say nothing of bytes, so what the last micro-batches held has to do."""

import json
from pathlib import Path

#: Where nothing is known yet: a generous event.
ASSUMED_BYTES = 1_000.0


class MeanSize:
    """The mean size of a message's value, in bytes, by the newest commit record that tells (see `nextreel.lake`)."""

    def __init__(self, commits: Path):
        self._commits = commits
        self._newest: int | None = None
        self._mean = ASSUMED_BYTES

    def read(self) -> float:
        """Return the mean; `ASSUMED_BYTES` until a record tells."""
        if self._newest is None:
            found = [int(path.stem) for path in self._commits.glob("*.json")]
            if not found:
                return self._mean
            self._newest = max(found)
            self._learn(self._newest)
        while self._learn(self._newest + 1):  # there may be thousands: their folder is listed once
            self._newest += 1
        return self._mean

    def _learn(self, batch: int) -> bool:
        """Take a record in; tell whether it is there."""
        try:
            record = json.loads((self._commits / f"{batch:012d}.json").read_bytes())
        except FileNotFoundError:
            return False
        messages = sum(sum(counts.values()) for counts in record.get("messages", {}).values())
        if messages and "raw_bytes" in record:
            self._mean = max(1.0, record["raw_bytes"] / messages)
        return True
