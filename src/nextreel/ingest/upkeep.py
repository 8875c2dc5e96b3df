"""The lake looked after while a stream fills it."""

import logging
import threading
from datetime import UTC, datetime

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.sql.streaming.query import StreamingQuery

from nextreel.errors import NextreelError
from nextreel.lake.compact import compact
from nextreel.lake.layout import Lake
from nextreel.settings import UpkeepSettings

_EVERY_SECONDS = 30.0
_POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


def start_upkeep(lake: Lake, settings: UpkeepSettings, query: StreamingQuery) -> threading.Thread:
    """Merge small files and remove old days from time to time, for as long as the query runs; returns the thread.

    What goes wrong is logged and tried again: the stream does not depend on it. It may be killed at any moment.
    """
    thread = threading.Thread(target=_keep, args=(lake, settings, query), name="nextreel-upkeep", daemon=True)
    thread.start()
    return thread


def _keep(lake: Lake, settings: UpkeepSettings, query: StreamingQuery) -> None:
    waited = threading.Event()
    rounds = int(_EVERY_SECONDS / _POLL_SECONDS)
    n = 0
    while not waited.wait(_POLL_SECONDS) and _is_active(query):
        n += 1
        if n % rounds == 0:
            try:
                for change in compact(lake, settings, datetime.now(UTC).date(), settings.merge_from_files):
                    if not change.files:
                        _log.warning("%s was removed: its time was over", change.folder)
            except Exception as error:  # whatever it is: the next round may do better
                known = isinstance(error, (NextreelError, OSError, pa.ArrowException))
                _log.warning("the lake's files could not be merged: %s", error, exc_info=not known)


def _is_active(query: StreamingQuery) -> bool:
    try:
        return query.isActive
    except (Py4JError, OSError):  # the session has ended, and its JVM with it
        return False
