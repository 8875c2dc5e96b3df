"""Which user-title pairs are worth a simulated rating, without comparing everyone with everything.

Titles are filed under each of their traits ("genre Drama", "actor …") and, once, under everything. A user looks up a
few places in the files of the traits that they declare, and in the file of everything for contrast: the work grows
with users times places, not with users times titles. The places come from a hash of user, file and seed, so the same
lake gives the same pairs.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

_TRAITS = ("genres", "directors", "actors", "decades")
_EVERYTHING = "everything"

#: Of the places that a user looks up, the share in the file of everything: without titles that do not fit, ALS would
#: learn from praise alone.
_CONTRAST = 0.3


def candidates(users: DataFrame, titles: DataFrame, per_user: int, seed: int) -> DataFrame:
    """Return at most ``per_user`` distinct pairs a user: user_id, content_id.

    ``users`` and ``titles`` have an id column and the list columns genres, directors, actors and decades.
    """
    filed = _entries(titles, "content_id")
    order = Window.partitionBy("file").orderBy(F.xxhash64("content_id", F.lit(seed)), "content_id")
    filed = filed.withColumn("place", F.row_number().over(order) - 1)
    sizes = filed.groupBy("file").agg(F.count("*").alias("size"))
    looked_up = _places(_entries(users, "user_id").join(sizes, "file"), per_user, seed)
    pairs = looked_up.join(filed, ["file", "place"]).select("user_id", "content_id").distinct()
    some = Window.partitionBy("user_id").orderBy(F.xxhash64("user_id", "content_id", F.lit(seed)), "content_id")
    return pairs.withColumn("nth", F.row_number().over(some)).where(F.col("nth") <= per_user).drop("nth")


def _entries(frame: DataFrame, id_column: str) -> DataFrame:
    """Return one row a trait value of each user or title, and one for the file of everything."""
    files = [
        F.transform(F.coalesce(trait, F.array().cast("array<string>")), _filed_under(trait)) for trait in _TRAITS
    ]
    return frame.select(
        id_column, F.explode(F.array_distinct(F.concat(F.array(F.lit(_EVERYTHING)), *files))).alias("file")
    )


def _filed_under(trait: str):  # type: ignore[no-untyped-def]
    def name(value: Column) -> Column:
        return F.concat(F.lit(trait + ":"), value)

    return name


def _places(entries: DataFrame, per_user: int, seed: int) -> DataFrame:
    """Return the places that each user looks up: user_id, file, place."""
    contrast = max(1, round(per_user * _CONTRAST))
    n_files = F.count("*").over(Window.partitionBy("user_id")) - 1
    share = F.ceil(F.lit(per_user - contrast) / F.greatest("n_files", F.lit(1))) + 1
    wanted = F.when(F.col("file") == _EVERYTHING, F.lit(contrast)).otherwise(share)
    counted = entries.withColumn("n_files", n_files).withColumn("n_draws", F.least(wanted, "size").cast("int"))
    draws = counted.withColumn("draw", F.explode(F.sequence(F.lit(1), "n_draws")))
    place = F.pmod(F.xxhash64("user_id", "file", "draw", F.lit(seed)), F.col("size"))
    return draws.select("user_id", "file", place.cast("int").alias("place"))
