"""Where things lie in the lake, and what their columns are.

    <lake>/<table>/date=YYYY-MM-DD/<file>.parquet     one table an event type, one for quarantine
    <lake>/_ingest/checkpoint                         Spark's: the offsets of every micro-batch
    <lake>/_ingest/commits/<batch>.json               ours: the files of every micro-batch
    <lake>/_ingest/staging/<file>.staged              written, not yet part of the lake

``date`` is the day of arrival (UTC), not of the event.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nextreel.events.contract import EVENT_TYPES, TABLES, event_schema

QUARANTINE = "quarantine"

#: The columns behind the contract's, in every event table: which message the row is.
LINEAGE = pa.schema(
    [
        pa.field("kafka_topic", pa.string()),
        pa.field("kafka_partition", pa.int32()),
        pa.field("kafka_offset", pa.int64()),
        pa.field("kafka_timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("ingested_at", pa.timestamp("us", tz="UTC")),
    ]
)

#: The columns of the lake's tables, by table.
SCHEMAS: dict[str, pa.Schema] = {
    TABLES[event_type]: pa.unify_schemas([event_schema(event_type), LINEAGE]) for event_type in EVENT_TYPES
} | {
    QUARANTINE: pa.unify_schemas(
        [
            pa.schema(
                [
                    pa.field("reason", pa.string()),
                    pa.field("detail", pa.string()),
                    pa.field("key", pa.binary()),
                    pa.field("raw", pa.binary()),
                ]
            ),
            LINEAGE,
        ]
    )
}


@dataclass(frozen=True)
class Lake:
    """The paths of one lake."""

    root: Path

    def table(self, name: str) -> Path:
        """Return the directory of a table."""
        return self.root / name

    def files(self, name: str) -> list[Path]:
        """Return the Parquet files of a table, as any reader with a plain glob sees them."""
        return sorted(self.table(name).glob("date=*/*.parquet"))

    @property
    def checkpoint(self) -> Path:
        """Spark's checkpoint of the ingest query."""
        return self.root / "_ingest" / "checkpoint"

    @property
    def commits(self) -> Path:
        """The commit records."""
        return self.root / "_ingest" / "commits"

    @property
    def staging(self) -> Path:
        """Files that are written and not yet committed."""
        return self.root / "_ingest" / "staging"

    @property
    def lock(self) -> Path:
        """Held by the one process that may write."""
        return self.root / "_ingest" / "lock"
