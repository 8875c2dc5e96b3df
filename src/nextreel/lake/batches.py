"""The table of micro-batches, in which ingest tells of itself: whole files, as all of the lake's."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from nextreel.durable import sync
from nextreel.lake.layout import BATCHES, BATCHES_SCHEMA, Lake
from nextreel.lake.locks import names_kept
from nextreel.lake.write import stage


def append(lake: Lake, rows: pa.Table) -> list[Path]:
    """Make rows of `BATCHES_SCHEMA` part of the lake, by the day of their commit: a file a day, there whole or not."""
    days = pc.strftime(rows["committed_at"], format="%Y-%m-%d")
    return [_append(lake, day, rows.filter(pc.equal(days, day))) for day in pc.unique(days).to_pylist()]


def _append(lake: Lake, day: str, rows: pa.Table) -> Path:
    staged = stage(lake, BATCHES, day, rows)
    with names_kept(lake):
        folder = lake.table(BATCHES) / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / Path(staged.name).with_suffix(".parquet")
        (lake.staging / staged.name).rename(path)
        sync(folder)
    return path


def read(lake: Lake, since: datetime) -> pa.Table:
    """Return the micro-batches committed at or after ``since``, in the order of their commits."""
    first = f"date={since.date().isoformat()}"
    with names_kept(lake):
        files = [str(f) for f in lake.files(BATCHES) if f.parent.name >= first]
        found = ds.dataset(files, schema=BATCHES_SCHEMA, format="parquet") if files else None
        rows = found.to_table(filter=pc.field("committed_at") >= since) if found else BATCHES_SCHEMA.empty_table()
    return rows.sort_by("committed_at")
