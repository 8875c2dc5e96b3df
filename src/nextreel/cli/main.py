"""The group of all commands: where settings come from, and how errors end."""

import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import click

from nextreel import __version__, settings
from nextreel.cli.console import Load
from nextreel.cli.demo import demo
from nextreel.cli.evaluate import evaluate
from nextreel.cli.kafka import broker, produce, topics
from nextreel.cli.lake import ingest, lake
from nextreel.cli.model import export, train
from nextreel.cli.models import models
from nextreel.cli.powerbi import powerbi
from nextreel.cli.quarantine import quarantine
from nextreel.cli.recommend import recommend
from nextreel.cli.replay import replay
from nextreel.cli.serve import keys, serve
from nextreel.cli.status import status
from nextreel.cli.tune import tune
from nextreel.cli.up import keep_training, up
from nextreel.errors import NextreelError, was_interrupted

#: Spark settings whose values are not for showing: those of Spark's own spark.redaction.regex, and Azure's keys.
_SECRET = re.compile(r"secret|password|token|(access|account).?key|credential", re.IGNORECASE)


class _Cli(click.Group):
    """Prints our errors without a traceback, and ends with their exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NextreelError as error:
            click.secho(f"error: {error}", fg="red", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:  # who reads what we print has read enough
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (or Python would try once more as it ends)
            ctx.exit(1)
        except OSError as error:  # a full disk, a file where a folder belongs: the machine's, and no mistake of ours
            at = f": {error.filename}" if error.filename else ""
            click.secho(f"error: {error.strerror or error}{at}", fg="red", err=True)
            ctx.exit(1)
        except MemoryError as error:
            click.secho(f"error: there is not enough memory: {error}", fg="red", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            ctx.exit(130)
        except RuntimeError as error:
            if not was_interrupted(error):
                raise
            ctx.exit(130)


@click.group(cls=_Cli, context_settings={"max_content_width": 100})
@click.version_option(__version__)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (TOML).")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, as train.factors=64.")
@click.pass_context
def main(ctx: click.Context, config: Path | None, sets: tuple[str, ...]) -> None:
    """Streaming recommendations: Kafka, Spark, a Parquet lake and ALS."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # py4j logs a traceback of its own wherever a call to the JVM ends in an exception, which reaches us anyway.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda record: not record.getMessage().endswith("while sending command."))
    flags = {}
    for given in sets:
        key, separator, value = given.partition("=")
        if not separator:
            raise click.BadParameter(f"{given!r} is not KEY=VALUE", param_hint="--set")
        flags[key] = value
    ctx.obj = lambda extra=None: settings.load(flags | (extra or {}), file=config)


@main.command("settings")
@click.pass_obj
def show_settings(load: Load) -> None:
    """Print every setting as it is now, as JSON; secrets are masked."""
    found = json.loads(load().model_dump_json())
    conf = found["spark"]["conf"]
    conf.update({key: "**********" for key in conf if _SECRET.search(key)})
    click.echo(json.dumps(found, indent=2))


for command in (demo, broker, topics, produce, replay, ingest, lake, quarantine):
    main.add_command(command)
for command in (train, evaluate, tune, models, recommend, export, powerbi, serve, keys, up, keep_training, status):
    main.add_command(command)
