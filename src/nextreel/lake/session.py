"""The Spark session: its settings, its Java, its end."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pyarrow as pa
import pyspark
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from nextreel import errors
from nextreel.account import can_execute_in, private_folder, set_home, substitute_name
from nextreel.java import executable, find_java, launcher_home
from nextreel.lake import jvm
from nextreel.lake.executors import warn_without_executors
from nextreel.lake.spark_errors import spark_errors, spark_log
from nextreel.processes import is_alive
from nextreel.settings import Settings

_DUMP_SECONDS = 60.0
_MASTER_SECONDS = 5.0
_CANCEL_SECONDS = 2.0
#: An orphaned JVM may take so long to write its archive.
_LEFT_SECONDS = 600.0

_CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # No limit in bytes beside that in rows: Spark would ask how large a batch is after each row, which where rows have
    # lists takes the longer the more there are. 100,000 users on their way to Python cost 2.5 s instead of 48.
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
    # Ratings are collected by the hundred million: Spark stops at 1 GB otherwise, though they need no place in its heap
    # (40 million rows, 2 GB, went through one of 1 GB).
    "spark.driver.maxResultSize": "0",
    "spark.sql.streaming.pollingDelay": "10ms",
    "spark.sql.streaming.asyncLogPurge.enabled": "true",
    "spark.python.daemon.module": "nextreel.workers",
}
#: On one machine: loopback only, and no more tasks than cores, since hundreds of empty ones cost more than the work.
_LOCAL_CONF = {
    # A home is a folder of this machine, whatever file system a HADOOP_CONF_DIR names.
    "spark.hadoop.fs.defaultFS": "file:///",
    "spark.hadoop.hadoop.security.authentication": "simple",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": str(os.cpu_count() or 2),
    "spark.default.parallelism": str(os.cpu_count() or 2),
    # The default one starts a shell for each file of the checkpoint, 70 ms of every micro-batch; a rename is as atomic
    # by this one's way where the file system is the machine's own.
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
}
#: The serial collector wants the least memory and, on two cores, time; ALS recurses deep into its lineage.
#: What one machine is given is over before the second compiler has paid for itself.
_JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss8m")
#: On a cluster: executors read tasks whose lineage is as deep.
_CLUSTER_CONF = {jvm.OPTIONS: "-Xss8m", "spark.executor.extraJavaOptions": "-Xss8m"}


def spark_session(settings: Settings, app_name: str = "nextreel") -> SparkSession:
    """Return the process's Spark session, started if it is not there yet; what its JVM prints goes to a log file.

    Settings of the section ``spark`` win over nextreel's own choices. In a program that ``spark-submit`` has started,
    what that was given wins over these too, and the master and all else that a JVM is started with are its own. Raises
    `nextreel.errors.JavaError` where no Java is found, `nextreel.errors.SparkError` where no master answers,
    `nextreel.errors.NextreelError` where there is no folder for what a start needs.
    """
    set_home()
    conf, environment, temporary = ({}, {}, None) if jvm.is_submitted() else _to_launch(settings)
    conf = _CONF | conf
    conf["spark.sql.warehouse.dir"] = Path(settings.home, "spark-warehouse").absolute().as_uri()
    if jvm.is_submitted():
        SparkContext._ensure_initialized()
        conf = beside(dict(SparkConf().getAll()), conf)
    conf |= {"spark.app.name": app_name} | settings.spark.conf
    fresh, is_new = SparkContext._gateway is None, SparkContext._active_spark_context is None
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with _output_to(spark_log(settings)), jvm.environment(environment):
        try:
            with spark_errors(settings):  # their text lies in the JVM
                if fresh:
                    jvm.launch(conf, temporary)
                spark = builder.getOrCreate()
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():  # Spark has put its own for the first
                    signal.signal(number, _interrupt if handler is signal.default_int_handler else handler)
            # It would print a traceback where the JVM is gone, which whoever misses it says in a line.
            vars(spark.sparkContext._accumulatorServer)["handle_error"] = lambda *_: None
            if is_new and not str(spark.sparkContext.master).startswith("local"):
                warn_without_executors(spark.sparkContext)
            return spark
        except BaseException:
            if fresh:
                jvm.end()
                _discard(_unfinished_archive(conf.get(jvm.OPTIONS)))
            raise


def _to_launch(settings: Settings) -> tuple[dict[str, str], dict[str, str], Path | None]:
    """Return the settings and the environment of a JVM to launch, and where its temporary folder lies."""
    java = find_java()
    _check_winutils()
    cache = _cache_folder()
    environment = {"JAVA_HOME": str(launcher_home(java, _java_folder(java, cache)))}
    local = settings.spark.master.startswith("local")
    _check_master(settings.spark.master)
    # Workers would start the first python3 of PATH, which need not be this one.
    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        environment[variable] = sys.executable if local else os.environ.get(variable, sys.executable)
    conf = {"spark.master": settings.spark.master, "spark.driver.memory": settings.spark.driver_memory}
    if sys.platform == "linux":
        environment["LC_ALL"] = "C.UTF-8"  # or the JVM has no names for paths beyond ASCII where the locale is POSIX
    if local:
        environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(_spark_home(cache))}
        options = " ".join([*_JVM_OPTIONS, *_archive_options(java, cache)])
        conf |= _LOCAL_CONF | {jvm.OPTIONS: options}
    else:
        conf |= _CLUSTER_CONF
    if settings.ingest.connector == "jvm" and "spark.jars" not in settings.spark.conf:
        conf["spark.jars.packages"] = settings.ingest.packages
    if substitute_name() is not None:  # Java knows no home of such a user, and Ivy refuses "?/.ivy2"
        home = Path.home()
        conf["spark.jars.ivy"] = str(home / ".ivy2")
        if jvm.is_plain(home):
            conf[jvm.OPTIONS] = f"-Duser.home={home} {conf[jvm.OPTIONS]}"
    return conf, environment, _temporary_folder(cache)


def _check_winutils() -> None:
    """Raise `SparkError` on a Windows that lacks what Spark touches local files by."""
    home = os.environ.get("HADOOP_HOME", "")
    if sys.platform == "win32" and not Path(home, "bin", "winutils.exe").is_file():
        raise errors.SparkError(
            f"Spark on Windows needs Hadoop's winutils.exe and hadoop.dll: in the bin of HADOOP_HOME ({home!r}), "
            "which must be on PATH, too. In WSL 2 they are not needed."
        )


def beside(given: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return our own choices beside what ``spark-submit`` was ``given``, which wins; and the executors' stacks."""
    name, stack = "spark.executor.extraJavaOptions", _CLUSTER_CONF["spark.executor.extraJavaOptions"]
    options = given.get(name, "")
    options = options if "-Xss" in options else f"{options} {stack}".strip()
    return {key: value for key, value in ours.items() if key not in given} | {name: options}


def _check_master(master: str) -> None:
    """Raise `SparkError` where no standalone master of those named takes a connection: Spark would ask for a minute."""
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_MASTER_SECONDS).close()
            return
        except (OSError, ValueError, OverflowError):
            continue
    raise errors.SparkError(f"no Spark master answers at {master}: is it there, and is spark.master right?")


def _interrupt(*_: object) -> NoReturn:
    """Cancel what Spark runs, which whoever asked for it would else wait for, and interrupt.

    Another thread asks for it: this one may be in the middle of a call, and so may its connection.
    """
    try:
        if (context := SparkContext._active_spark_context) is not None:
            asking = threading.Thread(target=_cancel, args=(context,), daemon=True)
            asking.start()
            asking.join(_CANCEL_SECONDS)
    finally:
        raise KeyboardInterrupt


def _cancel(context: SparkContext) -> None:
    with suppress(Py4JError, OSError, AttributeError):  # the session has ended
        context.cancelAllJobs()


def warm_up(spark: SparkSession) -> None:
    """Start the Python workers and load what the first queries need, by a small query of their kind.

    Worth it where a core is idle meanwhile: a stream takes seconds to be planned, and hardly uses one.
    """

    def unchanged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    spark.range(100).mapInArrow(unchanged, "id bigint").groupBy("id").count().toArrow()


@contextmanager
def running_spark(settings: Settings) -> Iterator[SparkSession]:
    """Give a session that is stopped at the end; what Spark raises within becomes an error of `nextreel.errors`."""
    spark = spark_session(settings)
    try:
        with spark_errors(settings):
            yield spark
    finally:
        stop_spark(spark)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Let processes started within the block write their output to a file, for all their life."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.SettingsError(f"the home directory cannot be written: {error}") from None
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


def stop_spark(spark: SparkSession) -> None:
    """Stop the session and wait for its JVM to end; the first one leaves its class archive behind."""
    written = None
    with suppress(Py4JError, OSError):  # the JVM is gone already, or a call to it was interrupted
        written = _unfinished_archive(spark.conf.get(jvm.OPTIONS, ""))
        spark.stop()
    if not jvm.end():
        _discard(written)
    elif written and written.exists():
        written.replace(written.with_suffix(".jsa"))


def _cache_folder() -> Path:
    """Return where Spark's homes and class archives lie: in this Python environment's folder, else in the user's.

    Who cannot write to the environment has one folder for each, in the user's cache or, failing that, among the
    temporary files. Raises `NextreelError` where that is not possible either.
    """
    own = Path(sys.prefix, "spark").resolve()  # an archive is of paths: those of a link would have their own
    if _is_usable(own):
        return own
    environment = _digest(sys.prefix)
    given = os.environ.get("XDG_CACHE_HOME", "")
    caches = Path(given if os.path.isabs(given) else os.path.expanduser("~/.cache"))
    folder = caches / "nextreel" / "spark" / environment
    return folder if caches.is_absolute() and _is_usable(folder) else _private_folder() / environment


def _is_usable(folder: Path) -> bool:
    """Report whether what a folder gets can be executed; it is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK) and can_execute_in(folder)


def _private_folder() -> Path:
    """Return this user's folder among the temporary files: whoever could write to it could have us run anything."""
    try:
        folder = private_folder()
        if not can_execute_in(folder):
            raise PermissionError(f"{folder} is mounted noexec or full")
    except OSError as error:
        raise errors.NextreelError(
            f"no folder for what Spark's start needs: neither {sys.prefix} nor the user's cache can be written, and "
            f"{error}. Set XDG_CACHE_HOME to a folder that can be, and that is not mounted noexec."
        ) from None
    return folder


def _temporary_folder(cache: Path) -> Path | None:
    """Return where a JVM's temporary folder lies; None for among the temporary files.

    Spark unpacks native libraries there, which a mount with noexec does not let it load: then it is in the cache.
    """
    usual = Path(tempfile.gettempdir())
    if can_execute_in(usual) and jvm.is_plain(usual):
        return None
    own = cache / "tmp"
    return own if jvm.is_plain(own) and _is_usable(own) else None


def _spark_home(cache: Path) -> Path:
    """Return a SPARK_HOME that is the PySpark package without its zipped copy of itself.

    Python workers would import PySpark from that zip and compile it anew each time, which costs a second and a half
    of every start; without it they import the package, which has its bytecode.
    """
    package = Path(pyspark.__file__).parent
    if sys.platform == "win32":
        return package
    home = cache / "spark-home"
    home.mkdir(parents=True, exist_ok=True)
    for part in package.iterdir():
        link = home / part.name
        if part.name != "python" and not link.exists():
            fresh = home / f".{part.name}.{uuid4().hex}"
            fresh.symlink_to(part)
            fresh.replace(link)  # another first start may have made it, or it points to where this environment was
    return home


def _archive_options(home: Path, cache: Path) -> list[str]:
    """Return the JVM's options for class-data sharing.

    Loading and verifying Spark's classes is two thirds of the work of a session's start. The JVM can keep them, ready
    for use, in an archive: the first session writes it as it ends, later ones map it. Not on Windows: Spark takes the
    backslashes of its path for something else.
    """
    if sys.platform == "win32":
        return []
    try:
        archive = _archive(home, cache)
        cache.mkdir(parents=True, exist_ok=True)
        base = _base_archive(home, cache)
        if " " in str(archive):  # Spark splits its options at blanks
            return []
    except (OSError, subprocess.SubprocessError):
        return []
    if archive.exists():
        return [f"-XX:SharedArchiveFile={base}{archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    for left in cache.glob("spark-*.[0-9]*"):  # by processes that were killed before they could name it
        if not is_alive(int(left.suffix[1:])) and time.time() - left.stat().st_mtime > _LEFT_SECONDS:
            left.unlink(missing_ok=True)
    shared = [f"-XX:SharedArchiveFile={base.removesuffix(os.pathsep)}"] if base else []
    return [*shared, f"-XX:ArchiveClassesAtExit={archive.with_suffix(f'.{os.getpid()}')}", "-Xlog:cds*=off"]


def _unfinished_archive(options: str | None) -> Path | None:
    """Return where a JVM with these options writes its archive as it ends."""
    found = re.search(r"-XX:ArchiveClassesAtExit=(\S+)", options or "")
    return Path(found.group(1)) if found else None


def _discard(archive: Path | None) -> None:
    if archive is not None:
        archive.unlink(missing_ok=True)


def _archive(home: Path, cache: Path) -> Path:
    """Return the archive's path: another Java or another Spark has another one."""
    spark = Path(pyspark.__file__).parent / "jars"
    key = f"{_java_folder(home, cache)} {pyspark.__version__} {spark} {spark.stat().st_mtime_ns}"
    return cache / f"spark-{_digest(key)}.jsa"


def _base_archive(home: Path, cache: Path) -> str:
    """Return the archive of Java's own classes, as a prefix of the path; empty where Java has it in its place."""
    if any(home.glob("lib/server/classes*.jsa")):
        return ""
    base = _java_folder(home, cache) / "base.jsa"
    if not base.exists():
        base.parent.mkdir(parents=True, exist_ok=True)
        fresh = base.with_suffix(f".{uuid4().hex}")
        command = [str(executable(home)), "-Xshare:dump", f"-XX:SharedArchiveFile={fresh}"]
        subprocess.run(command, check=True, capture_output=True, timeout=_DUMP_SECONDS)
        fresh.replace(base)
    return f"{base}{os.pathsep}"


def _java_folder(home: Path, cache: Path) -> Path:
    """Return where what is made for one Java lies; two processes that each found another one have two folders."""
    java = executable(home)
    return cache / f"java-{_digest(f'{home} {java.stat().st_mtime_ns if java.exists() else 0}')}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
