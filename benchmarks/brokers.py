"""The broker that a benchmark sends its messages through: the embedded one, or Apache Kafka."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from nextreel.kafka.apache import apache_broker
from nextreel.kafka.broker import embedded_broker
from nextreel.settings import load


def add_apache(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses the broker."""
    parser.add_argument("--apache", action="store_true", help="through Apache Kafka, not the embedded broker")


@contextmanager
def running_broker(apache: bool) -> Iterator[str]:
    """Run a broker; yields its ``host:port``. Apache Kafka's data lie among the temporary files."""
    if not apache:
        with embedded_broker() as bootstrap:
            yield bootstrap
        return
    with tempfile.TemporaryDirectory(prefix="nextreel-bench-kafka-") as home:
        distribution = load({}).kafka.distribution
        named = {} if distribution is None else {"kafka.distribution": str(distribution)}
        with apache_broker(load({"home": home} | named, {})) as broker:
            yield broker.bootstrap
