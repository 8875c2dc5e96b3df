"""Spark's standalone cluster as processes: a master and workers from the PySpark package, on loopback."""

import itertools
import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import pyspark
from tests.processes import kill, tree
from tests.waiting import until

from nextreel.java import find_java, launcher_home
from nextreel.lake.session import _JVM_OPTIONS

#: What these JVMs do is over as soon as what a session on one machine does.
SHORT_LIVED = " ".join(_JVM_OPTIONS)
_CLASS = "org.apache.spark.deploy"


class Cluster:
    """A master and workers of one core each."""

    def __init__(self, folder: Path, n_workers: int = 2):
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
        java = str(launcher_home(find_java(), folder / "java"))
        self.environment = kept | {"JAVA_HOME": java, "SPARK_LOCAL_IP": "127.0.0.1"}
        #: Where what is shipped is unpacked: who is killed leaves it there.
        self._scratch = folder / "scratch"
        self._scratch.mkdir(parents=True)
        self.environment |= {
            "SPARK_LOCAL_DIRS": str(self._scratch),
            "JDK_JAVA_OPTIONS": f"-Djava.io.tmpdir={self._scratch} {SHORT_LIVED}",
        }
        self._n_workers, self._numbers = n_workers, itertools.count()
        self._master: subprocess.Popen[Any] | None = None
        self.workers: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        try:
            self._master = self._start("master", f"{_CLASS}.master.Master", "--port", "0")
            self.url = self._told("master", r"Starting Spark master at (spark://\S+)")
            for _ in range(self._n_workers):
                self.add_worker()
            return self
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in (*self.workers, *([self._master] if self._master else [])):
            lose(process)
        for left in (self._scratch, *self._folder.glob("worker-*/")):
            shutil.rmtree(left, ignore_errors=True)

    def add_worker(self) -> None:
        """Start a worker and wait until the master knows it."""
        name = f"worker-{next(self._numbers)}"
        arguments = ["--cores", "1", "--memory", "2g", "--work-dir", str(self._folder / name), self.url]
        self.workers.append(self._start(name, f"{_CLASS}.worker.Worker", *arguments))
        self._told(name, r"Successfully registered with master")

    def executors(self) -> list[list[psutil.Process]]:
        """Return each worker's executors."""
        return [_executors(worker) for worker in self.workers]

    def _start(self, name: str, of: str, *arguments: str) -> subprocess.Popen[Any]:
        self._folder.mkdir(exist_ok=True)
        program = Path(pyspark.__file__).parent / "bin" / "spark-class"
        command = [str(program), of, "--host", "127.0.0.1", "--webui-port", "0", *arguments]
        with self._log(name).open("wb") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _told(self, name: str, pattern: str) -> str:
        log = self._log(name)
        found = until(
            lambda: re.search(pattern, log.read_text("utf-8", "replace")),
            lambda: f"no {pattern!r} from {name}: {log.read_text('utf-8', 'replace')[-2000:]}",
        )
        assert found
        return found.group(found.re.groups)


def lose(process: subprocess.Popen[Any]) -> None:
    """Have a process and all below it end as if their machine had lost its power."""
    kill(process)
    process.wait()


def _executors(worker: subprocess.Popen[Any]) -> list[psutil.Process]:
    found = []
    for each in tree(worker.pid)[1:]:
        with suppress(psutil.Error):
            if "org.apache.spark.executor.CoarseGrainedExecutorBackend" in each.cmdline():
                found.append(each)
    return found
