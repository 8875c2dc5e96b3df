"""The parent of Spark's Python workers, in place of ``pyspark.daemon``: it imports once what tasks need.

Spark forks a worker for each concurrent task; with ``pyspark.daemon`` each of them would import pandas, Arrow and
nextreel by itself, a second of processor time each.
"""

import gc
import sys

from pyspark import daemon

#: The module that Spark runs in the workers of ordinary tasks; others (planners of a data source) need little.
_TASKS = "pyspark.worker"

if __name__ == "__main__":
    if _TASKS in sys.argv:
        import pandas  # noqa: F401
        import pyspark.worker  # noqa: F401

        import nextreel.ingest.query
        import nextreel.ratings.table  # noqa: F401

        # A task makes a million short-lived objects and no circles of them: looking for circles took a twelfth of it.
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
    daemon.manager()
