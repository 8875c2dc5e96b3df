"""The whole system: up, and the training that goes on beside it."""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import click

from nextreel.cli.console import Load
from nextreel.errors import BrokerError, NextreelError

if TYPE_CHECKING:
    from nextreel.train.job import Training


@click.command()
@click.option("--broker", is_flag=True, help="Run the embedded broker, too: for one machine; it keeps nothing.")
@click.pass_context
def up(ctx: click.Context, broker: bool) -> None:
    """Run everything until Ctrl-C: ingest, training again and again, and the server.

    Each is a process of its own, and started again where it ends. The topics are made where they are missing.
    """
    from nextreel.kafka.broker import embedded_broker, is_free
    from nextreel.kafka.topics import create_topics
    from nextreel.up import Part, Up, alone

    given, stopping = ctx.obj(), threading.Event()
    assert ctx.parent is not None  # noqa: S101 (this is a command of a group)
    flags = [f"--set={each}" for each in ctx.parent.params["sets"]]
    if ctx.parent.params["config"] is not None:
        flags.append(f"--config={ctx.parent.params['config']}")
    own = [sys.executable, "-m", "nextreel", *flags]
    with alone(given.home), ExitStack() as cleanup:
        environment, bootstrap = dict(os.environ), None

        def check() -> None:
            if bootstrap and is_free(int(bootstrap.rpartition(":")[2])):
                raise BrokerError(
                    "the embedded broker has ended, and what it held with it: start again, in a new home "
                    "(NEXTREEL_HOME), since its topics will be new ones"
                )

        if broker:
            bootstrap = cleanup.enter_context(embedded_broker())
            own.append(f"--set=kafka.bootstrap={bootstrap}")
            given = ctx.obj({"kafka.bootstrap": bootstrap})
            _tell(f"broker listens on {bootstrap}; elsewhere: export NEXTREEL_KAFKA_BOOTSTRAP={bootstrap}")
        create_topics(given.kafka)
        parts = [Part(name, [*own, name]) for name in ("ingest", "keep-training", "serve")]
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda *_: stopping.set())
        Up(parts, given.home, environment, _tell, check, bootstrap).run(stopping)


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
