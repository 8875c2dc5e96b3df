"""An ingest that dies where it is told to: run as a process by the crash tests, its workers' parent included.

A fault point is a file in the directory ``CRASHING``. Who comes by it first removes the file and dies, by SIGKILL, so
that nothing is tidied up. The points, by phase of a micro-batch:

    in a worker   consuming  parsing  writing  staged
    in the driver planned  collected  half a record  recorded  half moved  moved

"half moved" strikes in recovery as well, where that completes a commit.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyspark import daemon

from nextreel import durable
from nextreel.ingest import consume, query, source, stage
from nextreel.lake import commit
from nextreel.lake.session import spark_session
from nextreel.lake.write import LakeWriter
from nextreel.settings import load

IN_WORKER = ("consuming", "parsing", "writing", "staged")
IN_DRIVER = ("planned", "collected", "half a record", "recorded", "half moved", "moved")


def at(point: str) -> None:
    """Die here, where that is asked for."""
    if wanted(point):
        os.kill(os.getpid(), signal.SIGKILL)


def wanted(point: str) -> bool:
    try:
        Path(os.environ["CRASHING"], point).unlink()
    except FileNotFoundError:
        return False
    return True


def around(owner: Any, name: str, before: str = "", after: str = "") -> None:
    """Put fault points before and after a function."""
    original: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        at(before or "-")
        result = original(*args, **kwargs)
        at(after or "-")
        return result

    setattr(owner, name, call)


def in_workers() -> None:
    read_ranges = consume.read_ranges

    def reading(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for block in read_ranges(*args, **kwargs):
            yield block
            at("consuming")

    setattr(source, "read_ranges", reading)  # noqa: B010 (of another module's making)
    around(stage, "parse", before="parsing")
    around(LakeWriter, "write", after="writing")
    around(LakeWriter, "close", after="staged")


def in_driver() -> None:
    around(query, "is_committed", before="planned")
    around(query, "commit", before="collected", after="moved")
    around(commit, "_move", before="recorded")
    write_json, rename = durable.write_json, Path.rename

    def half_written(path: Path, content: Any) -> None:
        if wanted("half a record"):
            text = json.dumps(content)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.tmp").write_text(text[: len(text) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write_json(path, content)

    def moving(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if path.suffix == ".staged":
            at("half moved")
        return moved

    setattr(commit, "write_json", half_written)  # noqa: B010 (of another module's making)
    Path.rename = moving  # type: ignore[method-assign, assignment]


def main(flags: dict[str, str], once: bool) -> None:
    in_driver()
    settings = load(flags | {"spark.conf.spark.python.daemon.module": "tests.ingest.crashing"}, {})
    stream = query.start_ingest(spark_session(settings), settings, available_now=once)
    stream.awaitTermination()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].startswith("{"):
        main(json.loads(sys.argv[1]), sys.argv[2] == "once")
    else:  # Spark runs this in place of nextreel.workers
        if "pyspark.worker" in sys.argv:
            in_workers()
        daemon.manager()
