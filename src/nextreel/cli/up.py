"""The whole system: up, and the training that goes on beside it."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

from nextreel.cli.console import Load
from nextreel.cli.kafka import say_that_maven_fetches
from nextreel.errors import BrokerError, JavaError, NextreelError
from nextreel.settings import Settings

if TYPE_CHECKING:
    from nextreel.train.job import Training


@click.command()
@click.option("--broker", is_flag=True, help="Run a broker, too: Apache Kafka or the embedded one, for one machine.")
@click.option(
    "--apache/--embedded",
    default=None,
    help="The broker that --broker runs; by default Apache Kafka where its JARs are on this machine already.",
)
@click.pass_context
def up(ctx: click.Context, broker: bool, apache: bool | None) -> None:
    """Run everything until Ctrl-C: ingest, training again and again, and the server.

    Each is a process of its own, and started again where it ends. The topics are made where they are missing.

    Apache Kafka keeps its topics in <home>/kafka and needs Java 17 or newer; the embedded broker keeps nothing.
    """
    from nextreel.kafka.topics import create_topics
    from nextreel.up import Part, Up, alone

    if apache is not None and not broker:
        raise click.UsageError("--apache and --embedded say which broker --broker runs: add --broker")
    given, stopping = ctx.obj(), threading.Event()
    assert ctx.parent is not None  # noqa: S101 (this is a command of a group)
    flags = [f"--set={each}" for each in ctx.parent.params["sets"]]
    if ctx.parent.params["config"] is not None:
        flags.append(f"--config={ctx.parent.params['config']}")
    own = [sys.executable, "-m", "nextreel", *flags]
    with alone(given.home), ExitStack() as cleanup:
        environment, bootstrap, check = dict(os.environ), None, _nothing
        if broker:
            bootstrap, check = cleanup.enter_context(_running_broker(given, apache))
            own.append(f"--set=kafka.bootstrap={bootstrap}")
            given = ctx.obj({"kafka.bootstrap": bootstrap})
            _tell(f"broker listens on {bootstrap}; elsewhere: export NEXTREEL_KAFKA_BOOTSTRAP={bootstrap}")
        create_topics(given.kafka)
        parts = [Part(name, [*own, name]) for name in ("ingest", "keep-training", "serve")]
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda *_: stopping.set())
        Up(parts, given.home, environment, _tell, check, bootstrap).run(stopping)


def _nothing() -> None:
    pass


@contextmanager
def _running_broker(settings: Settings, apache: bool | None) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a broker; yields its address and what looks after it.

    Apache Kafka is started again when it ends. The embedded broker is not: what it held is gone.
    """
    from nextreel.kafka.apache import apache_broker, has_data
    from nextreel.kafka.broker import embedded_broker, is_free
    from nextreel.kafka.jars import KAFKA_VERSION, kafka_jars
    from nextreel.up import BrokerGuard

    if apache is None:
        apache = has_data(settings) or (kafka_jars(settings) is not None and _has_java())
    if not apache:
        with embedded_broker() as bootstrap:
            port = int(bootstrap.rpartition(":")[2])

            def check() -> None:
                if is_free(port):
                    raise BrokerError(
                        "the embedded broker has ended, and what it held with it: start again, in a new home "
                        "(NEXTREEL_HOME), since its topics will be new ones"
                    )

            yield bootstrap, check
        return
    say_that_maven_fetches(settings)
    with apache_broker(settings) as running:
        _tell(f"the broker is Apache Kafka {'' if settings.kafka.distribution else KAFKA_VERSION}".rstrip())
        yield running.bootstrap, BrokerGuard(running, _tell)


def _has_java() -> bool:
    from nextreel.java import find_java

    try:
        find_java()
    except JavaError:
        return False
    return True


@click.command("keep-training")
@click.pass_obj
def keep_training(load: Load) -> None:
    """Train again and again: after enough new events, or after a while.

    That is: after up.train_after_events, or up.train_every_seconds where any came. Each training goes on from the
    current model, and everyone's recommendations are written after it; old versions are pruned.
    """
    from nextreel.lake.session import running_spark
    from nextreel.publish import publish
    from nextreel.train.continuous import keep_training as run

    given = load()

    def done(training: "Training") -> None:
        verdict = training.verdict
        _tell(f"{training.version} {'is current' if verdict.promoted else 'was refused'}: {verdict.why}")
        try:
            _tell(f"recommendations in {publish(training, given)[1]}")
        except (
            NextreelError,
            OSError,
        ) as error:  # the model is learned: that it cannot be written out is no reason to end
            _tell(f"recommendations were not written: {error}")

    with running_spark(given) as spark:
        run(spark, given, threading.Event().wait, _tell, done)


def _tell(text: str) -> None:
    click.echo(f"{datetime.now():%H:%M:%S} {text}", err=True)
