"""What is told of Spark's errors, whose texts are long."""

from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nextreel.errors import DataLossError, SparkError
from nextreel.lake.spark_errors import innermost, spark_errors
from nextreel.settings import Settings

_STREAM = (
    "[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: [FOREACH_BATCH_USER_FUNCTION_ERROR] Reason: "
    "An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):\n"
    '  File "query.py", line 168, in write\n'
    "py4j.protocol.Py4JJavaError: An error occurred while calling o108.collectToPython.\n"
    ": org.apache.spark.SparkException: Job aborted due to failure: java.lang.ArithmeticException: long overflow\n"
    "\tat java.base/java.lang.Math.multiplyExact(Math.java:1004)\n"
    "Caused by: java.lang.ArithmeticException: long overflow\n"
    "\tat java.base/java.lang.Math.multiplyExact(Math.java:1004)\n"
    "\nLogical Plan:\n~WriteToMicroBatchDataSourceV1 ForeachBatchSink\n"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_STREAM, "java.lang.ArithmeticException: long overflow"),
        (
            "An error occurred while calling o1.x.\n: java.lang.NullPointerException\n\tat a.B.c(B.java:1)",
            "java.lang.NullPointerException",
        ),
        (
            "Caused by: o.a.s.api.python.PythonException: Traceback (most recent call last):\nOSError: full\n",
            "OSError: full",
        ),
        (
            "[NO_SOURCE] Failed to find data source: kafka.\n  No error: here",
            "[NO_SOURCE] Failed to find data source: kafka",
        ),
        ("", ""),
    ],
)
def test_the_innermost_exception_is_told(text: str, told: str) -> None:
    assert innermost(text) == told


def test_what_fails_in_a_task_is_told_with_the_log(spark: SparkSession, settings: Settings) -> None:
    with pytest.raises(SparkError, match=r"^OSError: \[Errno 28\] No space left\. .*spark\.log may say more\.$"):
        _run(spark, settings, OSError(28, "No space left"))


def test_an_error_of_ours_comes_out_of_a_task_as_itself(spark: SparkSession, settings: Settings) -> None:
    with pytest.raises(DataLossError, match=r"^gone$"):
        _run(spark, settings, DataLossError("gone"))


def _run(spark: SparkSession, settings: Settings, error: Exception) -> None:
    def fail(_: Any) -> Any:
        raise error
        yield pa.record_batch({})

    with spark_errors(settings):
        spark.range(1).mapInArrow(fail, "id bigint").collect()
