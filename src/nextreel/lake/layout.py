"""Where things lie in the lake, and what their columns are.

    <lake>/<table>/date=YYYY-MM-DD/<file>.parquet     one table an event type, one for quarantine
    <lake>/batches/date=YYYY-MM-DD/<file>.parquet     what ingest tells of itself: one row a micro-batch
    <lake>/_ingest/checkpoint                         Spark's: the offsets of every micro-batch
    <lake>/_ingest/commits/<batch>.json               ours: the files of every micro-batch
    <lake>/_ingest/changes/<id>.json                  ours: files that were merged, or removed
    <lake>/_ingest/ledger.json                        ours: older records, added up
    <lake>/_ingest/replays/<time>-<id>.jsonl          ours: quarantined messages that were sent again
    <lake>/_ingest/gaps/<place>.json                  ours: messages that Kafka had deleted, or that cannot be read
    <lake>/_ingest/topics.json                        ours: the topics' ids, others where a topic was made anew
    <lake>/_ingest/staging/<file>.staged              written, not yet part of the lake
    <lake>/_ingest/merging/<id>/                      a day's directory that will take the place of another
    <lake>/_ingest/*lock                              who may do what at a time (`nextreel.lake.locks`)

``date`` is the day of arrival (UTC), not of the event.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nextreel.events.contract import EVENT_TYPES, TABLES, event_schema

QUARANTINE = "quarantine"

#: What ingest tells of itself: no table of messages.
BATCHES = "batches"

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
                    pa.field("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
                    pa.field("raw", pa.binary()),
                ]
            ),
            LINEAGE,
        ]
    )
}

#: The phases of a micro-batch: Spark's own by its names, ``stage`` and ``commit`` within its ``add_batch`` ours.
PHASES = (
    "latest_offset", "get_batch", "query_planning", "wal_commit", "add_batch", "stage", "commit", "commit_offsets",
)  # fmt: skip

_TIME = pa.timestamp("us", tz="UTC")

#: The columns of the table of micro-batches (docs/monitoring.md says what each is).
BATCHES_SCHEMA = pa.schema(
    [
        pa.field("batch_id", pa.int64()),
        pa.field("query_id", pa.string()),
        pa.field("started_at", _TIME),
        pa.field("committed_at", _TIME),
        pa.field("messages", pa.int64()),
        *(pa.field(table, pa.int64()) for table in SCHEMAS),
        pa.field("raw_bytes", pa.int64()),
        pa.field("parquet_bytes", pa.int64()),
        pa.field("unknown_fields", pa.int64()),
        pa.field("absent", pa.int64()),
        *(pa.field(f"lag_{TABLES[event_type]}", pa.int64()) for event_type in EVENT_TYPES),
        pa.field("input_rows_per_second", pa.float64()),
        pa.field("processed_rows_per_second", pa.float64()),
        pa.field("oldest_kafka_timestamp", _TIME),
        pa.field("newest_kafka_timestamp", _TIME),
        pa.field("newest_age_seconds", pa.float64()),
        pa.field("seconds", pa.float64()),
        *(pa.field(f"{phase}_seconds", pa.float64()) for phase in PHASES),
    ]
)


def local_url(path: Path) -> str:
    """Return a path as Hadoop takes it for one of this machine, whatever its default file system is.

    Hadoop reads what follows the scheme as it stands: nothing is escaped.
    """
    whole = path.absolute().as_posix()
    return f"file://{whole}" if whole.startswith("/") else f"file:///{whole}"


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
    def changes(self) -> Path:
        """The records of files that were merged or removed."""
        return self.root / "_ingest" / "changes"

    @property
    def ledger(self) -> Path:
        """Older records, added up."""
        return self.root / "_ingest" / "ledger.json"

    @property
    def gaps(self) -> Path:
        """What Kafka had deleted before it was read."""
        return self.root / "_ingest" / "gaps"

    @property
    def topics(self) -> Path:
        """The ids of the topics that the lake is filled from."""
        return self.root / "_ingest" / "topics.json"

    @property
    def merging(self) -> Path:
        """Days' directories that are about to take the place of others, or that have made place."""
        return self.root / "_ingest" / "merging"

    @property
    def staging(self) -> Path:
        """Files that are written and not yet committed."""
        return self.root / "_ingest" / "staging"

    @property
    def replays(self) -> Path:
        """The records of quarantined messages that were sent again."""
        return self.root / "_ingest" / "replays"

    @property
    def lock(self) -> Path:
        """Held by the one process that may write."""
        return self.root / "_ingest" / "lock"
