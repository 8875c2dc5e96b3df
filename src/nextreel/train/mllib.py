"""ALS by Spark MLlib: factorises on the cluster; ratings and factors pass through the driver."""

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession

from nextreel.errors import ModelError
from nextreel.model.arrays import Floats
from nextreel.model.model import Factors
from nextreel.train.engine import Cells, Engine, Objective


def mllib_engine(spark: SparkSession) -> Engine:
    """Return MLlib's ALS as an engine, which always begins anew.

    It raises `ModelError` for a scaling of λ that MLlib does not have.
    """

    def fit(cells: Cells, objective: Objective, start: Factors | None = None) -> Factors:
        k = objective.factors
        if objective.scaling != "positive":
            raise ModelError(
                f"MLlib weights λ by positive cells alone; scaling {objective.scaling!r} is the local engine's"
            )
        if len(cells.value) == 0:
            return Factors(np.zeros((cells.n_users, k), np.float32), np.zeros((cells.n_titles, k), np.float32))
        blocks = max(2, spark.sparkContext.defaultParallelism)
        als = ALS(
            rank=k,
            maxIter=objective.iterations,
            regParam=objective.regularization,
            implicitPrefs=objective.kind == "implicit",
            alpha=objective.alpha,
            seed=objective.seed,
            numUserBlocks=blocks,
            numItemBlocks=blocks,
            userCol="user",
            itemCol="title",
            ratingCol="value",
        )
        model = als.fit(_frame(spark, cells))
        return Factors(
            factor_rows(model.userFactors, cells.n_users, k), factor_rows(model.itemFactors, cells.n_titles, k)
        )

    return fit


def _frame(spark: SparkSession, cells: Cells) -> DataFrame:
    return spark.createDataFrame(pa.table({"user": cells.user, "title": cells.title, "value": cells.value}))


def factor_rows(factors: DataFrame, n: int, k: int) -> Floats:
    """Return MLlib's factors by row, (n, k): zero for rows that ALS never saw."""
    found = factors.toArrow()
    rows = np.zeros((n, k), np.float32)
    values = found["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    rows[found["id"].to_numpy()] = values.reshape(-1, k)
    return rows
