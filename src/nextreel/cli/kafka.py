"""Commands around Kafka: broker, topics, produce."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from nextreel.cli.console import Load, parse_rate, status_line, until_interrupted
from nextreel.events.contract import EVENT_TYPES, TABLES, EventType
from nextreel.settings import KafkaSettings, Settings

#: Kafka's own, at which every command asks unless it is told otherwise.
_PORT = 9092
#: Of a synthetic world, what is in memory is bounded; and of more titles than that, not all people would have a name.
_USERS, _TITLES = click.IntRange(1, 5_000_000), click.IntRange(1, 500_000)
_PAST, _SEED = click.IntRange(0, 10**9), click.IntRange(0, 2**63 - 1)

_TYPES: dict[str, EventType] = {TABLES[e]: e for e in EVENT_TYPES}


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on 127.0.0.1; by default 9092 where it is free, else a free one.",
)
@click.option("--apache", is_flag=True, help="Run Apache Kafka: its topics, in <home>/kafka, outlive a restart.")
@click.pass_obj
def broker(load: Load, port: int, apache: bool) -> None:
    """Run a broker for this machine until Ctrl-C: by default the embedded one, which keeps nothing across a restart.

    --apache needs Java 17 or newer, and either Maven, which fetches Apache Kafka's JARs once (44 MB), or the setting
    kafka.distribution.
    """
    from nextreel.kafka.apache import apache_broker
    from nextreel.kafka.broker import embedded_broker, is_free

    settings = load()
    wanted = port or (_PORT if is_free(_PORT) else 0)
    if not wanted:
        click.echo(f"port {_PORT} is taken: commands that are not told of this broker ask whoever is there", err=True)
    if not apache:
        with embedded_broker(wanted) as bootstrap:
            _say_where(bootstrap)
            until_interrupted()
        return
    say_that_maven_fetches(settings)
    with apache_broker(settings, wanted) as running:
        _say_where(running.bootstrap)
        until_interrupted(running.check_running)


def _say_where(bootstrap: str) -> None:
    click.echo(f"listening on {bootstrap}; elsewhere: export NEXTREEL_KAFKA_BOOTSTRAP={bootstrap}")


def say_that_maven_fetches(settings: Settings) -> None:
    """Say that a start of Apache Kafka takes longer this time."""
    from nextreel.kafka.jars import KAFKA_VERSION, kafka_jars

    if kafka_jars(settings) is None:
        click.echo(f"fetching Apache Kafka {KAFKA_VERSION} with Maven, once (44 MB) …", err=True)


@click.command()
@click.pass_obj
def topics(load: Load) -> None:
    """Create the four topics where they are missing."""
    from nextreel.kafka.topics import create_topics

    for topic, created in create_topics(load().kafka).items():
        click.echo(f"{topic}: {'created' if created else 'was there'}")


@click.command()
@click.argument("what", type=click.Choice(list(_TYPES)))
@click.option("--count", type=click.IntRange(1, 10**9), help="How many events; by default until Ctrl-C.")
@click.option("--rate", default="125000", show_default=True, help="Bytes of JSON a second, or max.")
@click.option("--start", type=click.IntRange(0, 10**9), default=0, help="First row of the synthetic feed.")
@click.option("--seed", type=_SEED, default=7, show_default=True, help="Seed of the synthetic world.")
@click.option("--users", "n_users", type=_USERS, default=2000, show_default=True, help="Users of the world.")
@click.option("--movies", "n_movies", type=_TITLES, default=600, show_default=True, help="Movies of the world.")
@click.option("--series", "n_series", type=_TITLES, default=300, show_default=True, help="Series of the world.")
@click.option(
    "--interactions", "n_interactions", type=_PAST, default=120_000, show_default=True, help="Its past interactions."
)
@click.pass_obj
def produce(load: Load, /, what: str, count: int | None, rate: str, start: int, **world: Any) -> None:
    """Send the synthetic world's users, movies, series or interactions to their topic.

    The four producers together make 500 KB/s, unless --rate says otherwise. When everyone has been sent, profile
    updates follow.

    The world's users and titles are in memory, and made before the first is sent: a million users take 0.5 GB and 8 s,
    a million titles 2 GB and 25 s, the largest world 3 GB.
    """
    from nextreel.events.world import WorldConfig
    from nextreel.feed import WorldFeed
    from nextreel.kafka.topics import create_topics, topics_by_type

    kafka, pace = load().kafka, parse_rate(rate)
    feed = WorldFeed(WorldConfig(end=datetime.now(UTC).replace(microsecond=0), **world))
    create_topics(kafka)
    event_type = _TYPES[what]
    send(kafka, topics_by_type(kafka)[event_type], feed.rows(event_type, start, count), pace)


def send(kafka: KafkaSettings, topic: str, batches: Iterator[Any], rate: float | None) -> None:
    """Send batches to a topic, and say how it goes and what was delivered."""
    from nextreel.kafka.producer import Delivery, EventProducer, produce

    began = time.monotonic()
    with status_line(f"sending to {topic}") as status:

        def tell(d: Delivery) -> None:
            speed = d.bytes / 1e3 / max(1e-9, time.monotonic() - began)
            status.update(f"{topic}: {d.delivered:,} delivered of {d.sent:,} sent, {speed:,.0f} KB/s")

        delivery = produce(EventProducer(kafka, rate), topic, batches, tell)
    click.echo(
        f"{topic}: {delivery.delivered:,} messages delivered, {delivery.bytes:,} bytes, {delivery.failed} failed"
    )
