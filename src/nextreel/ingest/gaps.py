"""What was lost: messages that Kafka deleted before they were read, or that cannot be read, while ingest goes on."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from nextreel.durable import write_json
from nextreel.errors import DataLossError
from nextreel.lake.commit import committed_offsets
from nextreel.lake.layout import Lake

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gap:
    """Messages of one partition that cannot be read.

    They were to be read from offset ``begin`` on, and ingest goes on at ``end``. It lies before ``begin`` where the
    topic was made anew: offsets do not tell what was lost then.
    """

    topic: str
    partition: int
    begin: int
    end: int
    why: str

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition}: {self.why}"


def write_gap(folder: Path, gap: Gap) -> None:
    """Write a gap down as ``<topic>-<partition>-<begin>-<end>.json``; one that is known stays as first noticed."""
    path = folder / f"{gap.topic}-{gap.partition}-{gap.begin}-{gap.end}.json"
    if not path.exists():
        write_json(path, asdict(gap) | {"noticed_at": datetime.now(UTC).isoformat()})


def check_topics(lake: Lake, ids: Mapping[str, str], fail: bool) -> None:
    """Compare the topics with those that the lake was filled from: ``ids`` by name, empty where Kafka has none.

    A topic that was made anew has other messages at the offsets that the lake has reached. Raises `DataLossError` where
    ``fail``; else those up to there are written down as lost, since two messages may not have one place.
    """
    known = json.loads(lake.topics.read_text("utf-8")) if lake.topics.exists() else {}
    for topic, partitions in committed_offsets(lake).items():
        if not known.get(topic) or not ids.get(topic) or known[topic] == ids[topic]:
            continue
        if fail:
            raise DataLossError(loss(made_anew(lake, topic)))
        for partition, reached in partitions.items():
            gap = Gap(topic, int(partition), 0, reached, "the topic was made anew: what came before is not read")
            _log.warning("%s. Going on at %s.", gap, f"{reached:,}")
            write_gap(lake.gaps, gap)
    if known != {**known, **ids}:
        write_json(lake.topics, {**known, **ids})


def made_anew(lake: Lake, topic: str) -> str:
    """Return what to say of a topic that has another id than the lake knows."""
    return f"{topic} was deleted and made anew since {lake.root} was filled from it"


def loss(why: str) -> str:
    """Return what to say where ingest stops rather than lose what a topic that was made anew holds."""
    return (
        f"{why}: its messages up to where the lake has come would be lost. Begin a new lake, or set "
        "ingest.fail_on_data_loss = false to go on from there."
    )
