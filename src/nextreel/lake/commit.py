"""How a micro-batch becomes part of the lake: once, whatever is killed.

Tasks write complete files into staging and report their names. The driver then

1. writes the batch's commit record, which names every file and where it goes: atomically, and this is the
   point of no return;
2. moves each file into its table by a rename.

A kill before 1 leaves only orphans in staging: Spark runs the batch again and `recover` removes them. A kill after
it leaves a record whose moves `recover` completes; Spark then runs the same batch again, finds its record and
does nothing. A file is in its table once because only the files of a record are moved and a batch has one record.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nextreel.durable import sync, write_json
from nextreel.errors import LakeError
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import Intake, Offsets, gone, read_record, record_path
from nextreel.lake.locks import names_kept
from nextreel.lake.write import StagedFile


def is_committed(lake: Lake, query_id: str, batch_id: int, offsets: Offsets) -> bool:
    """Tell whether a micro-batch, planned to end at ``offsets``, has its commit record.

    Raises `LakeError` where lake and checkpoint are not of one piece (one of them deleted, or restored from an older
    copy): the record is another query's or ends elsewhere, or the batch before has none.
    """
    record = read_record(record_path(lake, batch_id))
    if record is None:
        before = read_record(record_path(lake, batch_id - 1)) if batch_id else None
        if batch_id and (before is None or before["query"] != query_id):
            raise LakeError(_behind(lake, batch_id - 1))
        return False
    if record["query"] != query_id or record["offsets"] != offsets:
        raise LakeError(_other(lake, batch_id))
    return True


def check_whole(lake: Lake) -> None:
    """Look, before anything is planned, whether lake and checkpoint are of one piece.

    Raises `LakeError` where files are in no record, where the checkpoint is gone or another query's, and where either
    is further than the other by more than the batch that a kill may leave between them.
    """
    records = sorted(lake.commits.glob("*.json"))
    record = read_record(records[-1]) if records else None
    metadata = lake.checkpoint / "metadata"
    query_id = json.loads(metadata.read_text("utf-8"))["id"] if metadata.exists() else None
    known = [int(path.name) for path in (lake.checkpoint / "commits").glob("*") if path.name.isdigit()]
    acknowledged = max(known, default=-1)
    if record is None:
        if any(map(lake.files, SCHEMAS)):
            raise LakeError(
                f"{lake.root} has files that are in no record: ingest would bring their messages again. Restore the "
                "lake with its _ingest, or begin a new lake."
            )
        if acknowledged >= 0:
            raise LakeError(_behind(lake, acknowledged))
    elif query_id != record["query"] or record["batch"] > acknowledged + 1:
        raise LakeError(_other(lake, 0 if query_id is None else acknowledged + 1))
    elif record["batch"] < acknowledged:
        raise LakeError(_behind(lake, acknowledged))


def _behind(lake: Lake, batch_id: int) -> str:
    return (
        f"the checkpoint is at micro-batch {batch_id} and {lake.root} has no micro-batch {batch_id} of it. "
        "Messages would be lost: restore the lake with its checkpoint, or begin a new lake."
    )


def _other(lake: Lake, batch_id: int) -> str:
    return (
        f"{lake.root} already holds another micro-batch {batch_id} than its checkpoint has planned. Messages would "
        f"be doubled or lost: restore the {lake.checkpoint} that belongs to it, or begin a new lake."
    )


def commit(
    lake: Lake, query_id: str, batch_id: int, files: Iterable[StagedFile], offsets: Offsets, intake: Intake
) -> None:
    """Make the staged files of a micro-batch part of the lake, which then reaches to ``offsets``.

    Raises `LakeError`, before anything is committed, where a staged file is not to be seen from here.
    """
    files = sorted(files, key=lambda f: (f.table, f.date, f.name))
    if missing := [f.name for f in files if not (lake.staging / f.name).exists()]:
        raise LakeError(
            f"{len(missing)} files that tasks have staged are not in {lake.staging}: the driver and every executor "
            "must reach the lake under the same path, on storage that they share"
        )
    if files:
        sync(lake.staging)
    moves = [
        asdict(f) | {"path": f"{f.table}/date={f.date}/{query_id[:8]}-{batch_id:08d}-{i:03d}.parquet"}
        for i, f in enumerate(files)
    ]
    record = {"batch": batch_id, "query": query_id, "offsets": offsets, "files": moves}
    record |= {"committed_at": datetime.now(UTC).isoformat()} | asdict(intake)
    write_json(record_path(lake, batch_id), record)
    _move(lake, moves)


def committed_offsets(lake: Lake) -> Offsets:
    """Return how far the lake reaches: by topic and partition, the offset after the last that is in it."""
    records = sorted(lake.commits.glob("*.json"))
    record = read_record(records[-1]) if records else None
    return record["offsets"] if record else {}


def topic_ids(lake: Lake) -> dict[str, str]:
    """Return the ids of the topics that the lake was filled from, by name; none where Kafka did not say them."""
    try:
        found: dict[str, str] = json.loads(lake.topics.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return {topic: topic_id for topic, topic_id in found.items() if topic_id}


def recover(lake: Lake) -> int:
    """Complete the last commit and remove orphans from staging; returns how many orphans there were.

    Only the writer may call it, before it writes. Raises `LakeError` where a committed file is gone.
    """
    records = sorted(lake.commits.glob("*.json"))
    if records:
        record = read_record(records[-1])
        _move(lake, record["files"] if record else [])
    orphans = list(lake.staging.glob("*.staged"))
    for orphan in orphans:
        orphan.unlink()
    return len(orphans)


def _move(lake: Lake, moves: list[dict[str, Any]]) -> None:
    folders = set()
    with names_kept(lake):  # the folder of a name is not to be exchanged for another one meanwhile
        for move in moves:
            staged, final = lake.staging / move["name"], lake.root / move["path"]
            if staged.exists():
                if not final.parent.exists():
                    final.parent.mkdir(parents=True)
                    folders |= {final.parent.parent, lake.root}
                staged.rename(final)
                folders.add(final.parent)
            elif not final.exists() and move["path"] not in gone(lake):
                raise LakeError(f"{final} was committed and is gone: the lake was changed from outside")
        for folder in folders:
            sync(folder)
