"""Apache Kafka for tests: where its JARs are, the broker that a run of the tests shares, and brokers of a test's own.

A test's own brokers may be several (`cluster`), have TLS, users and ACLs (`secure_broker`), or be of the original's
version, with ZooKeeper (`zookeeper_broker`).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from tests.waiting import until

from nextreel.errors import BrokerError, JavaError
from nextreel.java import executable, find_java
from nextreel.kafka.apache import ApacheNode, apache_broker, new_cluster_id, single_node
from nextreel.kafka.broker import LOOPBACK, free_port, is_free
from nextreel.kafka.jars import fetch_jars, fetch_kafka_jars, user_cache
from nextreel.processes import die_with_parent
from nextreel.settings import Settings, load

#: Kafka as the original had it.
OLD_ARTIFACTS = (
    "org.apache.kafka:kafka_2.13:3.9.2",
    "org.apache.zookeeper:zookeeper:3.8.4",
)
#: Spark's own connector as it is released, and what it needs beyond PySpark's JARs.
CONNECTOR_ARTIFACTS = (
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
    "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.2.0",
    "org.apache.kafka:kafka-clients:3.9.2",
    "org.apache.commons:commons-pool2:2.13.1",
)
_STORE_PASSWORD = "changeit"  # noqa: S105 (of a key that lives as long as a test)
#: The shared broker takes messages of any time, as Kafka before 4.0 does, and compacts topics at once.
_SHARED = {"log.message.timestamp.after.max.ms": str(2**63 - 1), "log.cleaner.backoff.ms": "200"}
#: Begins the reason for which a test is left out.
APACHE_NEEDED = "needs Apache Kafka"


def is_ci() -> bool:
    """Tell whether this is CI, where nothing is left out."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


@cache
def apache_jars_or_reason() -> Path | str:
    """Return the folder of Apache Kafka's JARs, or why there is none. Raises in CI, which always has it.

    NEXTREEL_TEST_KAFKA_HOME names a distribution; otherwise Maven fetches the JARs once, into the user's cache.
    """
    try:
        find_java()
        return fetch_kafka_jars(_settings(Path(tempfile.gettempdir())))
    except (BrokerError, JavaError) as error:
        if is_ci():
            raise
        return str(error).rstrip(".")


def _settings(home: Path) -> Settings:
    named = os.environ.get("NEXTREEL_TEST_KAFKA_HOME")
    return load({"home": str(home)} | ({"kafka.distribution": named} if named else {}), {})


@contextmanager
def shared_broker() -> Iterator[str]:
    """Run the broker that tests share, its data among the temporary files; yields its ``host:port``."""
    home = Path(tempfile.mkdtemp(prefix="nextreel-test-kafka-"))
    try:
        with apache_broker(_settings(home), more=_SHARED) as broker:
            yield broker.bootstrap
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Broker:
    """One node of a cluster for tests: it can be stalled, killed and started again."""

    def __init__(self, node: ApacheNode, address: str, client: Mapping[str, str]):
        self.address = address
        self._node = node
        self._client = dict(client)

    def start(self) -> None:
        """Start the node without waiting for it."""
        self._node.start()

    def wait_until_up(self) -> None:
        """Wait until the node answers."""
        self._node.wait_until_up({"bootstrap.servers": self.address} | self._client)

    def kill(self) -> None:
        """End the node by SIGKILL, as its machine's end would."""
        self._node.kill()

    def stop(self) -> None:
        """Stop the node as an administrator does."""
        self._node.stop()

    def restart(self) -> None:
        """Start a node that has ended again, and wait until it answers."""
        self.start()
        self.wait_until_up()

    def stall(self) -> None:
        """Stop the node's process for a while, as a machine that swaps or a long pause of its JVM does."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a stalled process go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._node.process is not None
        self._node.process.send_signal(number)


class KafkaCluster:
    """Brokers that know each other, and what clients need to reach them."""

    def __init__(self, brokers: Sequence[Broker], admin: Mapping[str, str]):
        self.brokers = list(brokers)
        #: Settings of a librdkafka client that may do anything.
        self.admin = dict(admin)

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers."""
        return ",".join(broker.address for broker in self.brokers)


@contextmanager
def cluster(
    jars: Path, folder: Path, n: int = 1, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[KafkaCluster]:
    """Run ``n`` brokers without security in KRaft mode, each of them a controller too.

    With three, a topic has 3 replicas, of which 2 must have a message before it is acknowledged.
    """
    ports, controllers = [free_port() for _ in range(n)], [free_port() for _ in range(n)]
    settings = [
        _shared(ports[k], controllers[k], n)
        | {"node.id": str(k + 1), "controller.quorum.voters": _voters(controllers)}
        | dict(more)
        for k in range(n)
    ]
    nodes = [ApacheNode(jars, folder / f"broker-{k + 1}", each) for k, each in enumerate(settings)]
    addresses = [f"{LOOPBACK}:{port}" for port in ports]
    with _running(nodes, addresses, {}) as brokers:
        yield KafkaCluster(brokers, {"bootstrap.servers": ",".join(addresses)})


@contextmanager
def secure_broker(jars: Path, folder: Path, users: Mapping[str, str]) -> Iterator[KafkaCluster]:
    """Run one broker with SASL_SSL, SCRAM-SHA-512 and ACLs: users (name: password) may do nothing yet.

    Its administrator is "admin". `client_of` gives the settings of a user's client.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority, passwords = _certificate(folder), dict(users) | {"admin": "admin-secret"}
    port, controller = free_port(), free_port()
    settings = _shared(port, controller, 1) | {
        "controller.quorum.voters": _voters([controller]),
        "listeners": f"SASL_SSL://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"SASL_SSL://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="admin" password="{passwords["admin"]}";'
        ),
        "ssl.keystore.location": str(folder / "broker.p12"),
        "ssl.keystore.password": _STORE_PASSWORD,
        "ssl.key.password": _STORE_PASSWORD,
        "ssl.truststore.location": str(folder / "broker.p12"),
        "ssl.truststore.password": _STORE_PASSWORD,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",  # the latter is the controller's own listener
    }
    scram = [f"--add-scram=SCRAM-SHA-512=[name={name},password={word}]" for name, word in passwords.items()]
    node, address = ApacheNode(jars, folder / "broker", settings), f"{LOOPBACK}:{port}"
    client = client_of("admin", passwords["admin"], authority)
    with _running([node], [address], client, scram) as brokers:
        yield KafkaCluster(brokers, {"bootstrap.servers": address} | client)


def client_of(user: str, password: str, authority: Path) -> dict[str, str]:
    """Return the settings of a user's librdkafka client for `secure_broker`; ``authority`` is its certificate."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "ssl.ca.location": str(authority),
    }


def allow(given: KafkaCluster, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    """Allow a user some operations on a resource: a topic, a group, a transactional id; "*" for all of its kind."""
    rules = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    admin = AdminClient(given.admin)
    for future in admin.create_acls(rules).values():
        future.result(20)


def certificate_of(folder: Path) -> Path:
    """Return the certificate of the broker that `secure_broker` runs in a folder."""
    return folder / "authority.pem"


def connector_jars() -> str:
    """Return the JARs of Spark's own connector, as the setting spark.jars has them. Raises `BrokerError`."""
    folder = user_cache() / "nextreel" / "spark-kafka-4.2.0"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetch_jars(CONNECTOR_ARTIFACTS, folder, ["-DexcludeTransitive=true"])
    return ",".join(str(each) for each in sorted(folder.glob("*.jar")))


@contextmanager
def zookeeper_broker(folder: Path) -> Iterator[KafkaCluster]:
    """Run Kafka 3.9 with ZooKeeper, as the original had it; its JARs come from Maven. Raises `BrokerError`."""
    jars = user_cache() / "nextreel" / f"kafka-{OLD_ARTIFACTS[0].rpartition(':')[2]}-zookeeper"
    if not jars.is_dir():
        jars.parent.mkdir(parents=True, exist_ok=True)
        fetch_jars(OLD_ARTIFACTS, jars)
    port, keeper = free_port(), free_port()
    (folder / "zookeeper").mkdir(parents=True)
    config = folder / "zookeeper" / "zoo.cfg"
    lines = ["dataDir=data", f"clientPort={keeper}", f"clientPortAddress={LOOPBACK}", "admin.enableServer=false"]
    config.write_text("\n".join([*lines, "tickTime=2000", ""]))
    java = [str(executable(find_java())), "-Xmx128m", "-cp", f"{jars}{os.sep}*"]
    with subprocess.Popen(
        [*java, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config.name],
        cwd=config.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    ) as zookeeper:
        settings = {
            "broker.id": "1",
            "zookeeper.connect": f"{LOOPBACK}:{keeper}",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
            "log.dirs": "data",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        address = f"{LOOPBACK}:{port}"
        try:
            until(lambda: not is_free(keeper))
            with _running([ApacheNode(jars, folder / "broker", settings)], [address], {}, None) as brokers:
                yield KafkaCluster(brokers, {"bootstrap.servers": address})
        finally:
            zookeeper.kill()


@contextmanager
def _running(
    nodes: Sequence[ApacheNode], addresses: Sequence[str], client: Mapping[str, str], options: Sequence[str] | None = ()
) -> Iterator[list[Broker]]:
    """Run nodes of one cluster; ``options`` are those of the storage tool, None for one that needs no format."""
    identity = new_cluster_id()
    brokers = [Broker(node, address, client) for node, address in zip(nodes, addresses, strict=True)]
    try:
        for node in nodes:
            if options is not None:
                node.format(identity, options)
            node.start()
        for broker in brokers:
            broker.wait_until_up()
        yield brokers
    finally:
        for broker, node in zip(brokers, nodes, strict=True):
            if node.is_running:
                broker.go_on()
            node.kill()  # its data is of no use any more


def _shared(port: int, controller: int, n: int) -> dict[str, str]:
    """Return what brokers of a cluster of ``n`` have in common with the one that nextreel runs."""
    replicas, least = str(min(3, n)), str(min(2, n))
    return single_node(port, controller) | {
        "default.replication.factor": replicas,
        "min.insync.replicas": least,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": least,
    }


def _voters(controllers: Sequence[int]) -> str:
    return ",".join(f"{k}@{LOOPBACK}:{port}" for k, port in enumerate(controllers, start=1))


def _certificate(folder: Path) -> Path:
    """Make a broker's key for loopback, by Java's keytool; returns the file with its certificate."""
    keytool = executable(find_java()).with_name("keytool")
    store = ["-keystore", str(folder / "broker.p12"), "-storetype", "PKCS12", "-storepass", _STORE_PASSWORD]
    name = ["-alias", "broker", "-dname", "CN=broker", "-ext", f"SAN=dns:localhost,ip:{LOOPBACK}"]
    make = [str(keytool), "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "2", *name, *store]
    authority = certificate_of(folder)
    export = [str(keytool), "-exportcert", "-rfc", "-alias", "broker", "-file", str(authority), *store]
    trust = [str(keytool), "-importcert", "-noprompt", "-alias", "authority", "-file", str(authority), *store]
    for command in (make, export, trust):
        subprocess.run(command, check=True, capture_output=True)
    return authority
