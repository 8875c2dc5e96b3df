"""ALS engines of the benchmark, each as its documentation advises for speed, all with the same number of threads.

An engine is given the ratings in the format that it takes, which is not timed: `implicit` and irspack a CSR matrix,
cmfrec a COO matrix, MLlib a cached DataFrame, nextreel three columns. Its `fit` is timed from there, with all that the
library does before its first sweep.

What λ and α mean differs, after the libraries' documentation; with p = 1 for a liked title and x·y its score s:

    nextreel   (1 + α) (1 - s)² for liked titles, s² for all others; λ |x|² as it is (`none`) or weighted (`all`)
    implicit   α (1 - s)², so that its α is ours + 1; λ |x|² as it is
    irspack    (1 - s)² for liked titles and α₀ s² for all, so that its α₀ is about 1 / α of ours; `reg` is weighted by
               (α₀ n_titles + n_row)^ν: ν = 1 is our `all` with the same λ, ν = 0 our `none` with λ α₀
    cmfrec     (1 + α) (1 - s)²; λ |x|² as it is
    MLlib      (1 + α) (1 - s)²; λ n_row |x|²

Of explicit feedback all weight λ by n_row (Zhou et al. 2008), cmfrec where it is told to.
"""

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from irspack import IALSRecommender
from py4j.protocol import Py4JError
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from scipy.sparse import coo_matrix, csr_matrix

from benchmarks.als_tasks import Task
from nextreel import __version__
from nextreel.lake.session import spark_session, stop_spark
from nextreel.model.model import Factors
from nextreel.settings import load
from nextreel.train.engine import Cells, Objective
from nextreel.train.local import Sweep, local_engine
from nextreel.train.mllib import factor_rows

Settings = dict[str, Any]
Told = Callable[[Callable[[], Factors]], None]
"""Is told at the end of a sweep (of the last one, where the engine tells of no other) how to get the factors."""


class Engine(Protocol):
    """Trains on a task."""

    name: str
    #: Whether it tells of each sweep. Who does not is trained anew for each number of sweeps.
    stepwise: bool
    #: What is compared with: the package, its version, and what else decides on its speed.
    about: str

    def load(self, task: Task) -> None:
        """Take the ratings of a task, in the engine's own format."""
        ...

    def fit(self, settings: Settings, factors: int, sweeps: int, told: Told) -> None:
        """Train from scratch."""
        ...

    def close(self) -> None:
        """End whatever the engine runs."""
        ...


class Nextreel:
    """nextreel's local engine."""

    name = "nextreel"
    stepwise = True

    def __init__(self, threads: int, seed: int = 0) -> None:
        self._threads, self._seed = threads, seed
        self.about = f"nextreel {__version__}"

    def load(self, task: Task) -> None:
        self._kind = task.kind
        self._cells: Cells = task.train.cells(task.values)

    def fit(self, settings: Settings, factors: int, sweeps: int, told: Told) -> None:
        def watch(sweep: Sweep) -> bool:
            told(lambda: sweep.factors)
            return False

        objective = Objective(self._kind, factors, sweeps, seed=self._seed, **settings)
        local_engine(self._threads, watch)(self._cells, objective)

    def close(self) -> None:
        pass


class Implicit:
    """`implicit`, by conjugate gradients, with its BLAS held to one thread as it asks for: see `als.run`."""

    name = "implicit"
    stepwise = True

    def __init__(self, threads: int, seed: int = 0) -> None:
        self._threads, self._seed = threads, seed
        self.about = _version("implicit")

    def load(self, task: Task) -> None:
        self._matrix = _rows(task)

    def fit(self, settings: Settings, factors: int, sweeps: int, told: Told) -> None:
        model = AlternatingLeastSquares(
            factors, iterations=sweeps, num_threads=self._threads, random_state=self._seed, dtype=np.float32, **settings
        )

        def callback(*_: Any) -> None:
            told(lambda: Factors(model.user_factors, model.item_factors))

        model.fit(self._matrix, show_progress=False, callback=callback)

    def close(self) -> None:
        pass


class Irspack:
    """irspack's iALS, by conjugate gradients: by Cholesky and by subspaces it takes several times as long."""

    name = "irspack"
    stepwise = True

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self.about = _version("irspack")

    def load(self, task: Task) -> None:
        self._matrix = _rows(task)

    def fit(self, settings: Settings, factors: int, sweeps: int, told: Told) -> None:
        model = IALSRecommender(self._matrix, factors, n_threads=self._threads, **settings)
        model.start_learning()
        for _ in range(sweeps):
            model.run_epoch()
            told(lambda: Factors(model.get_user_embedding(), model.get_item_embedding()))

    def close(self) -> None:
        pass


class Cmfrec:
    """cmfrec, with the options that its documentation names for speed; without biases, which are taken off before."""

    name = "cmfrec"
    stepwise = False

    def __init__(self, threads: int) -> None:
        self._options = {
            "nthreads": threads,
            "use_cg": True,
            "finalize_chol": False,
            "use_float": True,
            "precompute_for_predictions": False,
            "produce_dicts": False,
        }
        self.about = _version("cmfrec")

    @staticmethod
    def is_installed() -> bool:
        """Tell whether cmfrec is there: it comes as source, and compiles for minutes."""
        return importlib.util.find_spec("cmfrec") is not None

    def load(self, task: Task) -> None:
        data = task.train
        self._kind = task.kind
        self._matrix = coo_matrix((task.values, (data.user, data.title)), shape=(data.n_users, data.n_titles))

    def fit(self, settings: Settings, factors: int, sweeps: int, told: Told) -> None:
        from cmfrec import CMF, CMF_implicit

        if self._kind == "implicit":
            model = CMF_implicit(factors, niter=sweeps, **settings, **self._options)
        else:
            how = {"scale_lam": True, "center": False, "user_bias": False, "item_bias": False}
            model = CMF(factors, niter=sweeps, **how, **settings, **self._options)
        model.fit(self._matrix)
        told(lambda: Factors(model.A_, model.B_))

    def close(self) -> None:
        pass


class MLlib:
    """MLlib's ALS in a local Spark, whose JVM has its usual compilers: nextreel's own sessions go without the second.

    Timed is `fit` alone, without the DataFrame's way in and the factors' way out.
    """

    name = "mllib"
    stepwise = False

    def __init__(self, threads: int) -> None:
        self._home = tempfile.TemporaryDirectory()
        given = {"home": self._home.name, "spark.master": f"local[{threads}]", "spark.driver_memory": "6g"}
        self._spark = spark_session(load(given | {"spark.conf.spark.driver.extraJavaOptions": "-Xss8m"}, {}))
        self._blocks = threads
        self.about = f"{_version('pyspark')}, {self._blas()}"
        self._frame: DataFrame | None = None

    def load(self, task: Task) -> None:
        if self._frame is not None:
            self._frame.unpersist()
        data = task.train
        self._kind, self._shape = task.kind, (data.n_users, data.n_titles)
        columns = {"user": data.user, "title": data.title, "value": task.values}
        self._frame = self._spark.createDataFrame(pa.table(columns)).cache()
        self._frame.count()

    def fit(self, settings: Settings, factors: int, sweeps: int, told: Told) -> None:
        if self._frame is None:
            raise RuntimeError("load comes first")
        als = ALS(
            rank=factors,
            maxIter=sweeps,
            implicitPrefs=self._kind == "implicit",
            seed=0,
            numUserBlocks=self._blocks,
            numItemBlocks=self._blocks,
            userCol="user",
            itemCol="title",
            ratingCol="value",
            **settings,
        )
        model = als.fit(self._frame)
        users, titles = self._shape
        sides = ((model.userFactors, users), (model.itemFactors, titles))
        told(lambda: Factors(*(factor_rows(side, n, factors) for side, n in sides)))

    def _blas(self) -> str:
        """Return Java's own BLAS or the machine's, which Spark takes where libblas.so.3 is on the loader's path."""
        jvm: Any = self._spark._jvm
        blas = jvm.dev.ludovic.netlib.blas
        try:
            return str(blas.NativeBLAS.getInstance().getClass().getSimpleName())
        except Py4JError:
            return str(blas.JavaBLAS.getInstance().getClass().getSimpleName())

    def close(self) -> None:
        stop_spark(self._spark)
        self._home.cleanup()


def _rows(task: Task) -> csr_matrix:
    data = task.train
    return csr_matrix((task.values, (data.user, data.title)), shape=(data.n_users, data.n_titles))


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"
