"""Apache Kafka on one machine: a node in KRaft mode that keeps its topics over restarts.

It listens on loopback only. Its folder, ``<home>/kafka``, has the data, the settings of its last start and its log. A
node ends with the process that started it, killed or not.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from nextreel.durable import write_json
from nextreel.errors import BrokerError
from nextreel.java import executable, find_java, properties
from nextreel.kafka.broker import LOOPBACK, free_port, is_free
from nextreel.kafka.jars import fetch_kafka_jars
from nextreel.locks import opened, taken
from nextreel.processes import die_with_parent
from nextreel.settings import Settings

#: A node's files in its folder.
_SERVER, _LOG, _DATA, _LOCK, _ADDRESS = "server.properties", "kafka.log", "data", "lock", "address.json"
_START_SECONDS = 120.0
#: Kafka ends within seconds of SIGTERM; a machine that is busy may take longer.
_STOP_SECONDS = 30.0
#: A broker whose parent was killed still writes what it has to; it holds the lock until it ends.
_LOCK_SECONDS = 15.0
#: As in Kafka's own scripts, this variable replaces the heap's size.
_HEAP_VARIABLE, _HEAP = "KAFKA_HEAP_OPTS", "-Xms128m -Xmx512m"

#: What a line has that names an error.
_ERRORS = (" ERROR ", " FATAL ", "Exception", "Error:")

_LOG4J = """status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = kafka.log
appender.file.filePattern = kafka.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %-5p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 5
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


class ApacheNode:
    """One node of Apache Kafka as a process of this machine, with its settings, data and log in a folder.

    ``jars`` is the folder of its JARs, ``settings`` are Kafka's own (``server.properties``). A relative path in them is
    relative to the node's folder.
    """

    def __init__(self, jars: Path, folder: Path, settings: Mapping[str, str]):
        self.folder = folder
        self._jars = jars
        self._settings = dict(settings)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The file that the node logs to."""
        return self.folder / _LOG

    @property
    def is_running(self) -> bool:
        """Whether the node's process is there."""
        return self.process is not None and self.process.poll() is None

    def format(self, cluster: str, options: Sequence[str] = ()) -> None:
        """Prepare the data folder of a KRaft node, unless it is. ``options`` are those of Kafka's storage tool.

        Raises `BrokerError` if Kafka refuses.
        """
        if (self.folder / _DATA / "meta.properties").exists():  # Kafka writes it last
            return
        self._write_settings()
        command = [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", _SERVER]
        done = subprocess.run(
            [*command, "--ignore-formatted", *options],
            cwd=self.folder, env=_environment(), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            reason = _error_in(done.stdout + done.stderr) or "it said nothing"
            raise BrokerError(f"Kafka's storage tool could not format {self.folder / _DATA}: {reason}")

    def start(self, inherited: Sequence[int] = ()) -> None:
        """Start the process, which keeps the ``inherited`` file descriptors open (POSIX)."""
        self._write_settings()
        with (self.folder / "console.log").open("wb") as console:  # what the JVM says before there is a log
            self.process = subprocess.Popen(
                [*self._java(), "kafka.Kafka", _SERVER],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: clients still have to flush to the broker
                pass_fds=() if sys.platform == "win32" else inherited,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    def wait_until_up(self, client: Mapping[str, str]) -> None:
        """Wait until the node answers a client with these librdkafka settings.

        Raises `BrokerError` if it ends, or does not answer in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        host, _, port = client["bootstrap.servers"].rpartition(":")
        answer = "no connection"
        while time.monotonic() < deadline:
            self.check_running()
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex((host, int(port))) != 0:
                    time.sleep(0.05)
                    continue
            try:
                AdminClient({"log_level": 0} | dict(client)).list_topics(timeout=5.0)
            except KafkaException as error:
                answer = error.args[0].str()
                continue
            self.check_running()  # otherwise it was another one's answer
            return
        raise BrokerError(f"Apache Kafka does not answer on {host}:{port} ({answer}); its log is {self.log}")

    def check_running(self) -> None:
        """Raise `BrokerError` if the process has ended."""
        if not self.is_running:
            raise BrokerError(self.failure())

    def failure(self) -> str:
        """Return why the process has ended, as far as its log says."""
        code = None if self.process is None else self.process.returncode
        return f"Apache Kafka ended (exit code {code}): {self._last_error()}. Its log is {self.log.absolute()}"

    def stop(self) -> None:
        """Stop the node; one that does not end in time is killed."""
        if self.process is None:
            return
        if self.is_running:
            self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once, as the machine's end would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _java(self) -> list[str]:
        heap = os.environ.get(_HEAP_VARIABLE, _HEAP).split()
        options = ["-Djava.awt.headless=true", "-Dlog4j2.configurationFile=log4j2.properties"]
        return [str(executable(find_java())), *heap, *options, "-cp", f"{self._jars}{os.sep}*"]

    def _write_settings(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "log4j2.properties").write_text(_LOG4J, "ascii")
        server = self.folder / _SERVER
        server.touch(mode=0o600)  # settings can be secrets
        server.write_text(properties(self._settings), "ascii")

    def _last_error(self) -> str:
        for name in ("console.log", _LOG):
            try:
                text = (self.folder / name).read_text("utf-8", "replace")
            except OSError:
                continue
            if error := _error_in(text):
                return error
        return "it logged no error"


class ApacheBroker:
    """A running broker: its address (``host:port``), and its node."""

    def __init__(self, node: ApacheNode, bootstrap: str, lock: int):
        self.bootstrap = bootstrap
        self._node = node
        self._lock = lock

    @property
    def is_running(self) -> bool:
        """Whether the broker's process is there."""
        return self._node.is_running

    @property
    def pid(self) -> int:
        """The id of the broker's process."""
        assert self._node.process is not None  # noqa: S101 (a broker is made when it is started)
        return self._node.process.pid

    def check_running(self) -> None:
        """Raise `BrokerError` with the reason if the broker has ended."""
        self._node.check_running()

    def failure(self) -> str:
        """Return why the broker has ended, as far as its log says."""
        return self._node.failure()

    def start(self) -> None:
        """Start a broker that does not run, at its address and with its topics. It answers some seconds later.

        Raises `nextreel.errors.JavaError` if there is no Java any more, `OSError` if its process cannot be started.
        """
        self._node.start([self._lock])

    def wait_until_up(self) -> None:
        """Wait until the broker answers. Raises `BrokerError` if it ends, or does not answer in time."""
        self._node.wait_until_up({"bootstrap.servers": self.bootstrap})


@contextmanager
def apache_broker(
    settings: Settings, port: int = 0, advertised: str | None = None, more: Mapping[str, str] | None = None
) -> Iterator[ApacheBroker]:
    """Run Apache Kafka for the length of a ``with`` block, its data in ``<home>/kafka``; JARs are fetched if missing.

    ``port`` 0 means that of the last start if it is free, otherwise a free one. ``advertised`` is the address that
    clients connect to if it is not the broker's own: a proxy's. ``more`` are further settings of Kafka's. Raises
    `BrokerError` if the broker does not start: the port or the data is in use, or there are no JARs;
    `nextreel.errors.JavaError` if there is no Java.
    """
    if port and not is_free(port):
        raise BrokerError(f"port {port} of {LOOPBACK} is in use. Choose another --port.")
    jars, folder = fetch_kafka_jars(settings), data_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        lock = cleanup.enter_context(_locked(folder))
        port = port or _last_port(folder) or free_port()
        bootstrap = f"{LOOPBACK}:{port}"
        node = ApacheNode(jars, folder, single_node(port, free_port(), advertised) | dict(more or {}))
        node.format(new_cluster_id())
        cleanup.callback(node.stop)
        broker = ApacheBroker(node, bootstrap, lock)
        broker.start()
        broker.wait_until_up()
        write_json(folder / _ADDRESS, {"port": port})
        yield broker


def data_folder(settings: Settings) -> Path:
    """Return the folder of a home's broker."""
    return settings.home.absolute() / "kafka"


def has_data(settings: Settings) -> bool:
    """Tell whether a home has the data of an Apache Kafka."""
    return (data_folder(settings) / _DATA / "meta.properties").exists()


def _last_port(folder: Path) -> int:
    """Return the port of the last start, so that clients find the broker again; 0 if it is unknown or in use."""
    try:
        port = int(json.loads((folder / _ADDRESS).read_text("utf-8"))["port"])
        return port if is_free(port) else 0
    except (OSError, ValueError, KeyError, TypeError, OverflowError, BrokerError):
        return 0


def single_node(port: int, controller_port: int, advertised: str | None = None) -> dict[str, str]:
    """Return Kafka's settings of a broker that is its own controller, on loopback."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{advertised or f'{LOOPBACK}:{port}'}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": _DATA,
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
    }


def new_cluster_id() -> str:
    """Return a new id for a cluster, as Kafka writes them: 22 letters, digits, "-" and "_"; no option's "-" first."""
    while (found := base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return found


def _error_in(text: str) -> str:
    """Return the last line that names an error in the end of what Kafka wrote; empty if there is none."""
    lines = [line.strip() for line in text[-100_000:].splitlines() if not line.startswith("\tat ")]
    return next((line for line in reversed(lines) if any(word in line for word in _ERRORS)), "")


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold a folder's lock, which a broker inherits, within the block. Raises `BrokerError` if another one holds it."""
    with opened(folder / _LOCK, os.O_RDWR | os.O_CREAT) as descriptor:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not taken(descriptor):
            if time.monotonic() >= deadline:
                raise BrokerError(
                    f"{folder} is in use: another broker runs on its data. Stop it, or set NEXTREEL_HOME to another "
                    "home."
                )
            time.sleep(0.1)
        yield descriptor


def _environment() -> dict[str, str]:
    """Return the environment of Kafka's JVM, which has no names for paths beyond ASCII in the POSIX locale."""
    return dict(os.environ) | ({"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {})
