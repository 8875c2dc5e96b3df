"""Whether a cluster gives what jobs wait for."""

import logging
import threading
import time
from contextlib import suppress

from py4j.protocol import Py4JError
from pyspark import SparkContext

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
_SAID = (
    "the cluster has given no executor for %.0f s, and what is to be done waits: its workers are busy, none has the "
    "memory and cores of one (spark.conf.spark.executor.memory, 1g unless set; spark.conf.spark.executor.cores), or "
    "they do not reach this machine (spark.conf.spark.driver.host)"
)


def warn_without_executors(context: SparkContext) -> None:
    """Say once that jobs have been waiting half a minute for a first executor; Spark itself says so in its log alone.

    It is watched for on a thread, until there has been an executor or the session ends.
    """

    def watch() -> None:
        waiting_since = None
        with suppress(Py4JError, OSError, AttributeError):  # the session has ended
            while _n_executors(context) == 0:
                if not context.statusTracker().getActiveJobsIds():
                    waiting_since = None
                elif waiting_since is None:
                    waiting_since = time.monotonic()
                elif time.monotonic() - waiting_since >= _PATIENCE_SECONDS:
                    _LOG.warning(_SAID, _PATIENCE_SECONDS)
                    return
                time.sleep(_LOOK_SECONDS)

    threading.Thread(target=watch, name="executors", daemon=True).start()


def _n_executors(context: SparkContext) -> int:
    places: int = context._jsc.sc().getExecutorMemoryStatus().size()
    return places - 1  # the driver has one, too
