"""Everyone's recommendations on Spark, for more users than one machine should hold.

Ratings stay where they are: a task has some users with their ratings and preferences, solves for them and ranks, by the
same functions that do it on one machine, and so with the same result. What it needs of titles and of the model is sent
to each executor once, as plain tables and arrays. The driver holds that, and of users nothing.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Accumulator, Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)
from pyspark.sql.pandas.types import from_arrow_schema

from nextreel.events.contract import TABLES
from nextreel.lake import tables
from nextreel.lake.layout import Lake, local_url
from nextreel.lake.ledger import readable_offsets
from nextreel.lake.locks import names_kept
from nextreel.model.foldin import FoldIn
from nextreel.model.lists import SCHEMA, recommendations
from nextreel.model.model import Model
from nextreel.model.refresh import TitlesNow, with_titles, with_users
from nextreel.model.traits import aligned
from nextreel.model.version import Parts, put_together, taken_apart
from nextreel.ratings.affinity import flat
from nextreel.ratings.sources import LIKING, SOURCES
from nextreel.ratings.table import ratings
from nextreel.settings import ExportSettings, RatingsSettings
from nextreel.train.dataset import Alone, Dataset, ascending
from nextreel.train.now import users_now

#: Users of a task, and so of a file, about.
_TASK_USERS = 20_000
#: Users that a task solves for at a time.
_SOLVED_USERS = 2_000
_TOLD_SECONDS = 0.5

#: What an executor is sent: the model of the titles, the catalogue, and `Alone`.
_Shared = tuple[Parts, pa.Table, bool, bool]

#: Is told how many users of how many are done.
Progress = Callable[[int, int], None]


def write_everyone(
    spark: SparkSession,
    lake: Lake,
    model: Model,
    wanted: ExportSettings,
    settings: RatingsSettings,
    folder: Path,
    progress: Progress = lambda *_: None,
) -> None:
    """Write the titles that are ``wanted`` for every user of the lake, as it is now, to a folder that is not there yet.

    Parquet files whose names are in the order of their rows: by user, then rank.
    """
    with _everyone(spark, lake, settings) as (people, titles):
        n_users = people.count()
        per_title = people.select(F.explode("ratings").alias("of")).groupBy("of.content_id", "of.source").count()
        titles_model, alone = _titles_now(model, titles, per_title.toArrow())
        catalogue = titles.select(["content_id", "title", "type", "genres"])
        shared = spark.sparkContext.broadcast((taken_apart(titles_model), catalogue, alone.deeds, alone.guesses))
        done = spark.sparkContext.accumulator(0)
        try:
            n_parts = max(1, math.ceil(n_users / _TASK_USERS))
            in_order = people.repartitionByRange(n_parts, "user_id").sortWithinPartitions("user_id")
            found = in_order.mapInArrow(
                _recommending(shared, wanted.top_k, wanted.diversity, done), from_arrow_schema(SCHEMA)
            )
            with _told(done, n_users, progress):
                found.write.option("compression", "zstd").parquet(local_url(folder))
        finally:
            shared.destroy()
    for path in folder.iterdir():
        if path.suffix != ".parquet":  # Hadoop's: that it has succeeded, and checksums
            path.unlink()


@contextmanager
def _everyone(spark: SparkSession, lake: Lake, settings: RatingsSettings) -> Iterator[tuple[DataFrame, pa.Table]]:
    """Give the users with a profile or ratings: user_id, username, traits, ratings; and the catalogue.

    All of it is up to the same offsets, whatever ingest commits meanwhile. Files that are merged wait all the while:
    what an executor loses is read again.
    """
    with names_kept(lake):
        until = readable_offsets(lake)
        titles = tables.titles(spark, lake, until).toArrow()
        known = tables.users(spark, lake, until)
        interactions = tables.read_table(spark, lake, TABLES["interaction"], until)
        with ratings(interactions, known, titles, settings) as rated:
            source = F.array_position(F.lit(list(SOURCES)), F.col("source")) - 1
            rating = F.col("rating").cast("float")
            liking = [F.coalesce(LIKING, "rating").cast("float").alias(LIKING)] if LIKING in rated.columns else []
            each = F.struct("content_id", rating.alias("rating"), source.cast("tinyint").alias("source"), *liking)
            own = rated.groupBy("user_id").agg(F.collect_list(each).alias("ratings"))
            people = known.join(own, "user_id", "full_outer").persist()
            try:
                yield people, titles
            finally:
                people.unpersist()


def _titles_now(model: Model, titles: pa.Table, per_title: pa.Table) -> tuple[Model, Alone]:
    """Return the model of the titles that are in the catalogue or rated, and what all ratings come from."""
    ids = ascending(per_title["content_id"], titles["content_id"].to_pylist())
    counts = np.zeros((len(SOURCES), len(ids)), np.int64)
    title = pc.index_in(per_title["content_id"], ids).to_numpy()
    counts[per_title["source"].to_numpy(), title] = per_title["count"].to_numpy()
    alone = Alone.of(counts.sum(axis=1))
    said = [alone.guesses or name != "simulated" for name in SOURCES]
    popularity = counts[said].sum(axis=0).astype(np.float32)
    return with_titles(model, TitlesNow(ids, aligned(titles, "content_id", ids), popularity)), alone


def _recommending(
    shared: "Broadcast[_Shared]", k: int, diversity: float, done: "Accumulator[int]"
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task does: users with all that is known of them in, recommendations out."""

    def recommend(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts, catalogue, deeds, guesses = shared.value
        titles = put_together(parts)
        fold = FoldIn.of(titles.titles, titles.biases.mean, titles.feedback)
        for people in (part for batch in batches for part in _parts(batch, _SOLVED_USERS)):
            data = _dataset(people, titles.title_ids)
            users = users_now(data, aligned(people, "user_id", data.user_ids), Alone(deeds, guesses))
            model = with_users(titles, users, fold, threads=1)
            for table in recommendations(model, data.pairs(), people, catalogue, k, diversity, threads=1):
                yield from table.to_batches()
            done.add(people.num_rows)

    return recommend


def _parts(batch: pa.RecordBatch, n_rows: int) -> Iterator[pa.Table]:
    for begin in range(0, batch.num_rows, n_rows):
        yield pa.Table.from_batches([batch.slice(begin, n_rows)])


def _dataset(people: pa.Table, title_ids: pa.StringArray) -> Dataset:
    """Return the ratings of some users, each with a list of theirs, as a dataset."""
    user, each = flat(people["ratings"])
    title, rating, source = (pc.struct_field(each, name) for name in ("content_id", "rating", "source"))
    has_liking = each.type.get_field_index(LIKING) >= 0
    return Dataset(
        people["user_id"].combine_chunks(),
        title_ids,
        user.astype(np.int32),
        pc.index_in(title, title_ids).to_numpy(zero_copy_only=False).astype(np.int32),
        rating.to_numpy(),
        source.to_numpy(),
        np.full(len(user), np.datetime64("NaT", "us")),
        pc.struct_field(each, LIKING).to_numpy() if has_liking else None,
    )


@contextmanager
def _told(done: "Accumulator[int]", n_users: int, progress: Progress) -> Iterator[None]:
    """Tell of progress from time to time; tasks that are run again count once more, but no further than to the end."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_TOLD_SECONDS):
            progress(min(done.value, n_users), n_users)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
