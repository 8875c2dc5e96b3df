"""Apache Kafka in KRaft mode on loopback: one broker or several, each of which can be stalled, killed and restarted.

It needs Java 17 and the JARs of a Kafka distribution: ``NEXTREEL_TEST_KAFKA_HOME`` is its folder, with ``libs`` in it.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from tests.kafka.proxy import LOOPBACK, free_port
from tests.waiting import until

from nextreel.java import executable, find_java

CLUSTER = "4L6g3nShT-eMCtK--X86sw"


class Node:
    """One node, broker and controller at once."""

    def __init__(self, folder: Path, settings: Mapping[str, str], address: str):
        self.address = address
        self._folder = folder
        self._settings = dict(settings)
        self._process: psutil.Popen | None = None

    def format(self) -> None:
        """Write the settings and prepare the data folder."""
        self._folder.mkdir()
        text = "".join(f"{name}={value}\n" for name, value in self._settings.items())
        (self._folder / "server.properties").write_text(text)
        command = [*_java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", "server.properties"]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)

    def start(self) -> None:
        """Start the process; return at once."""
        with (self._folder / "console.log").open("ab") as console:
            self._process = psutil.Popen(
                [*_java(), "kafka.Kafka", "server.properties"],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def stall(self) -> None:
        """Stop the process where it is, as a machine that swaps or a long pause of the collector would."""
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a stalled process continue."""
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as the machine's end would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _running(self) -> psutil.Popen:
        assert self._process is not None
        return self._process


class Cluster:
    """Nodes that have one cluster's topics."""

    def __init__(self, nodes: list[Node]):
        self.nodes = nodes
        self.bootstrap = ",".join(node.address for node in nodes)

    def wait_until_up(self, n_brokers: int | None = None) -> None:
        """Wait until the cluster answers with this number of brokers; by default all of them."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        wanted = n_brokers or len(self.nodes)

        def is_up() -> bool:
            try:
                return len(admin.list_topics(timeout=2.0).brokers) >= wanted
            except KafkaException:
                return False

        until(is_up, lambda: "Apache Kafka does not answer", pause=0.1)

    def leader(self, topic: str, partition: int) -> Node:
        """Return the node that leads a partition."""
        found = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(topic, timeout=10.0)
        broker = found.brokers[found.topics[topic].partitions[partition].leader]
        return next(node for node in self.nodes if node.address == f"{broker.host}:{broker.port}")


def has_apache() -> bool:
    """Tell whether there are JARs to start."""
    return bool(os.environ.get("NEXTREEL_TEST_KAFKA_HOME"))


@contextmanager
def apache_cluster(folder: Path, n: int = 1, **settings: str) -> Iterator[Cluster]:
    """Run a cluster of ``n`` nodes for the length of a ``with`` block; ``settings`` have "_" for Kafka's "."."""
    ports, controllers = [free_port() for _ in range(n)], [free_port() for _ in range(n)]
    voters = ",".join(f"{i}@{LOOPBACK}:{port}" for i, port in enumerate(controllers, 1))
    copies, isr = str(min(n, 3)), str(max(1, min(n, 3) - 1))
    nodes = []
    for i, (port, controller) in enumerate(zip(ports, controllers, strict=True), 1):
        own = {
            "process.roles": "broker,controller",
            "node.id": str(i),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": "data",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": isr,
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
        }
        more = {name.replace("_", "."): value for name, value in settings.items()}
        nodes.append(Node(folder / f"node-{i}", own | more, f"{LOOPBACK}:{port}"))
    cluster = Cluster(nodes)
    try:
        for node in nodes:
            node.format()
            node.start()
        cluster.wait_until_up()
        yield cluster
    finally:
        for node in nodes:
            node.kill()


def _java() -> list[str]:
    jars = Path(os.environ["NEXTREEL_TEST_KAFKA_HOME"]) / "libs"
    return [str(executable(find_java())), "-Xmx400m", "-cp", f"{jars}/*"]
