"""Small files become few, and old days go, under running readers and the running writer.

Files of one table and day are merged so:

1. their rows are written into a directory beside the lake, together with links to the day's other files;
2. an intent is recorded;
3. the two directories are exchanged, in one step, while nobody keeps the lake's names;
4. the change is recorded, and some seconds later the old directory deleted: who is listing it gets all its names.

A kill before 3 leaves a directory that nobody sees, after it one that nobody misses: `_settle` finds out by what the
day's directory holds. A reader sees the old files or the new ones. One that lists before 3 and opens after it, without
having kept the names (`nextreel.lake.locks.names_kept`), finds no file under the old name: an error that it can see,
and never a row twice or none, since no name is ever used again.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from nextreel.durable import sync, write_json
from nextreel.errors import LakeError
from nextreel.events.contract import TABLES
from nextreel.lake.exchange import exchange
from nextreel.lake.footers import newest_message
from nextreel.lake.layout import BATCHES, QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Change, LakeFile, change_path, fold, has_happened, intents
from nextreel.lake.locks import keeper, names_alone
from nextreel.lake.write import LakeWriter
from nextreel.settings import UpkeepSettings

#: How long to wait for readers that keep the names; what could not be exchanged is for the next time.
_PATIENCE_SECONDS = 30.0
_BLOCK_ROWS = 65_536
_ALL = 2  # so few files are merged whatever their sizes
_MERGED = "merged-"
#: A reader lists a directory in less time: what it has opened must not lose names meanwhile.
_LISTING_SECONDS = 5.0


def compact(lake: Lake, settings: UpkeepSettings, today: date, least: int = 2) -> list[Change]:
    """Merge every day's small files where there are ``least`` of them, remove what is too old; return the changes.

    Files are merged until they have ``settings.file_megabytes``. Where it takes more than two of them, as while ingest
    runs, a merged one that is larger than all smaller ones together waits for more: it would be rewritten each time.
    Raises `LakeError` where another process is at it; for what is wrong with one day, when all others are done.
    """
    with keeper(lake):
        _settle(lake)
        fold(lake)  # first: it must not depend on what may be wrong with a file, or on what the file system can do
        newest = newest_message(lake)
        if newest is not None:  # a clock that is ahead must not make everything old
            today = min(today - timedelta(days=1), newest.date()) + timedelta(days=1)
        changes: list[Change] = []
        wrong: dict[str, None] = {}
        for day in _days(lake):
            try:
                changes += day.kept(settings, today, least)
            except (LakeError, OSError, pa.ArrowException) as error:
                wrong[str(error)] = None
        fold(lake)
        _delete_old(lake)
    if wrong:
        raise LakeError("; ".join(wrong))
    return changes


def _days(lake: Lake) -> "list[_Day]":
    """Return the days of our own tables: what else lies beside them is none of our business."""
    return [
        _Day(lake, folder)
        for table in (*SCHEMAS, BATCHES)
        for folder in sorted(lake.table(table).glob("date=????-??-??"))
    ]


class _Day:
    """One day's directory of one table."""

    def __init__(self, lake: Lake, folder: Path):
        self._lake = lake
        self._folder = folder
        self._table = folder.parent.name
        self._date = folder.name.removeprefix("date=")

    def kept(self, settings: UpkeepSettings, today: date, least: int) -> list[Change]:
        """Remove the day where its time is over, or merge its small files; return what has changed."""
        change = self.removed() if self.is_expired(settings, today) else self.merged(settings.small_bytes, least)
        return [] if change is None else [change]

    def is_expired(self, settings: UpkeepSettings, today: date) -> bool:
        """Tell whether the day is to be removed: users and titles are kept, since their newest event is their state."""
        keep = {
            TABLES["interaction"]: settings.interactions_days,
            QUARANTINE: settings.quarantine_days,
            BATCHES: settings.batches_days,
        }.get(self._table, 0)
        return bool(keep) and date.fromisoformat(self._date) < today - timedelta(days=keep)

    def removed(self) -> Change | None:
        """Remove the whole day."""
        return self._changed(self._change([f.name for f in self._files()]))

    def merged(self, small_bytes: int, least: int) -> Change | None:
        """Merge the small files to files of twice the size that is small."""
        small = [f for f in self._files() if f.stat().st_size < small_bytes]
        if least > _ALL:
            small = _worth_it(small)
        if len(small) < least or not self._may_change():
            return None
        change = self._change([f.name for f in small])
        image = self._lake.merging / change.id
        try:
            files = tuple(self._rewritten(small, image, change.id, 2 * small_bytes))
        except BaseException:
            shutil.rmtree(image, ignore_errors=True)
            raise
        before = sum(pq.read_metadata(f).num_rows for f in small)
        if sum(f.rows for f in files) != before:
            raise LakeError(f"merging {self._folder} made {sum(f.rows for f in files)} rows of {before}")
        if not files:  # small files without a row; and a change without files would remove the day
            return None
        return self._changed(replace(change, files=files))

    def _may_change(self) -> bool:
        """Tell whether nobody keeps the names, before the work is done; raise `LakeError` where it would be in vain."""
        tried = [self._lake.merging / f"tried-{uuid4().hex[:8]}" for _ in range(2)]
        for folder in tried:
            folder.mkdir(parents=True)
        try:
            exchange(*tried)
        finally:
            for folder in tried:
                folder.rmdir()
        with names_alone(self._lake, 0.0) as alone:
            return alone

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))

    def _change(self, names: list[str]) -> Change:
        made = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        folder = f"{self._table}/date={self._date}"
        return Change(f"{made}-{uuid4().hex[:8]}", self._table, self._date, tuple(f"{folder}/{n}" for n in names))

    def _rewritten(self, small: list[Path], image: Path, change_id: str, target_bytes: int) -> Iterator[LakeFile]:
        """Write the rows of small files into an image of the day, in as many files as it takes."""
        writer: LakeWriter | None = None
        n = 0
        for rows in _blocks(small):
            if writer is None:
                name = f"{_MERGED}{change_id}-{n:03d}.parquet"
                writer, n = LakeWriter(image / name, self._table, self._date), n + 1
            writer.write(rows)
            if writer.bytes >= target_bytes:
                yield self._closed(writer)
                writer = None
        if writer is not None:
            yield self._closed(writer)

    def _closed(self, writer: LakeWriter) -> LakeFile:
        file = writer.close()
        return LakeFile(f"{self._table}/date={self._date}/{file.name}", file.rows, file.bytes)

    def _changed(self, change: Change) -> Change | None:
        """Let a change happen; None where readers were in its way."""
        intent = change_path(self._lake, change.id, ".intent")
        with names_alone(self._lake, _PATIENCE_SECONDS) as alone:
            if not alone:
                shutil.rmtree(self._lake.merging / change.id, ignore_errors=True)
                return None
            if change.files:
                self._link_others(change)
            write_json(intent, asdict(change))
            self._swap(change)
        _finish(self._lake, change)
        return change

    def _link_others(self, change: Change) -> None:
        """Bring the day's other files into the image, those of this moment's micro-batch too."""
        image = self._lake.merging / change.id
        sources = {Path(path).name for path in change.sources}
        for file in self._folder.iterdir():
            if file.name not in sources:
                (image / file.name).hardlink_to(file)
        sync(image)

    def _swap(self, change: Change) -> None:
        aside = self._lake.merging / change.id
        if change.files:
            exchange(aside, self._folder)
        else:
            self._lake.merging.mkdir(parents=True, exist_ok=True)
            self._folder.rename(aside)
        sync(self._folder.parent)
        sync(self._lake.merging)


def _worth_it(files: list[Path]) -> list[Path]:
    """Return files but for merged ones that are larger than all smaller ones together; in the order of their names."""
    sizes = {file: file.stat().st_size for file in files}
    chosen = [file for file in files if not file.name.startswith(_MERGED)]
    together = sum(map(sizes.__getitem__, chosen))
    for file in sorted(sizes.keys() - set(chosen), key=sizes.__getitem__):
        if sizes[file] > together:
            break
        chosen.append(file)
        together += sizes[file]
    return sorted(chosen)


def _blocks(files: list[Path]) -> Iterator[pa.Table]:
    """Yield the rows of files, with the columns of the newest and of all others.

    Row group by row group: Arrow's datasets read ahead by files, which takes memory by their size.
    """
    schema = pa.unify_schemas([pq.read_schema(f) for f in reversed(files)])
    for file in files:
        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(_BLOCK_ROWS, use_threads=False):
                missing = [f for f in schema if f.name not in batch.schema.names]
                rows = pa.Table.from_batches([batch])
                for f in missing:
                    rows = rows.append_column(f, pa.nulls(len(rows), f.type))
                if len(rows):
                    yield rows.select(schema.names).cast(schema)


def _settle(lake: Lake) -> None:
    """Bring to an end what a killed keeper had begun, and delete what it left."""
    for change in intents(lake):
        if has_happened(lake, change):
            _finish(lake, change)
        else:
            change_path(lake, change.id, ".intent").unlink()
    _delete_old(lake)


def _delete_old(lake: Lake) -> None:
    """Delete the directories that made place."""
    left = list(lake.merging.glob("*"))
    if left:
        time.sleep(_LISTING_SECONDS)
    for folder in left:
        shutil.rmtree(folder)


def _finish(lake: Lake, change: Change) -> None:
    """Record a change that has happened."""
    intent = change_path(lake, change.id, ".intent")
    if change.table in SCHEMAS:
        intent.rename(change_path(lake, change.id))
    else:  # what ingest tells of itself is not in the commit records
        intent.unlink()
    sync(lake.changes)
