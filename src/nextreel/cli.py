"""The command line: ``nextreel COMMAND``."""

import json
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.status import Status

from nextreel import __version__, settings
from nextreel.errors import NextreelError
from nextreel.events.contract import EVENT_TYPES, TABLES, EventType
from nextreel.settings import Settings

#: Spark settings whose values are not for showing: those of Spark's own spark.redaction.regex, and Azure's keys.
_SECRET = re.compile(r"secret|password|token|(access|account).?key|credential", re.IGNORECASE)

#: Tables are not squeezed into less, as where output goes to a file.
_LEAST_WIDTH = 100

_IMPORTED = time.monotonic()
_TYPES: dict[str, EventType] = {TABLES[e]: e for e in EVENT_TYPES}


class _Finite(click.FloatRange):
    """A range that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found


class _Cli(click.Group):
    """Prints our errors without a traceback, and ends with their exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NextreelError as error:
            click.secho(f"error: {error}", fg="red", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=_Cli)
@click.version_option(__version__)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (TOML).")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, as train.factors=64.")
@click.pass_context
def main(ctx: click.Context, config: Path | None, sets: tuple[str, ...]) -> None:
    """Streaming recommendations: Kafka, Spark, a Parquet lake and ALS."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # py4j logs a traceback of its own wherever a call to the JVM ends in an exception, which reaches us anyway.
    logging.getLogger().addFilter(lambda record: not record.getMessage().endswith("while sending command."))
    flags = {}
    for given in sets:
        key, separator, value = given.partition("=")
        if not separator:
            raise click.BadParameter(f"{given!r} is not KEY=VALUE", param_hint="--set")
        flags[key] = value
    ctx.obj = lambda extra=None: settings.load(flags | (extra or {}), file=config)


Load = Callable[..., Settings]


@main.command("settings")
@click.pass_obj
def show_settings(load: Load) -> None:
    """Print every setting as it is now, as JSON; secrets are masked."""
    found = json.loads(load().model_dump_json())
    conf = found["spark"]["conf"]
    conf.update({key: "**********" for key in conf if _SECRET.search(key)})
    click.echo(json.dumps(found, indent=2))


@main.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on 127.0.0.1; by default 9092 where it is free, else a free one.",
)
@click.pass_obj
def broker(load: Load, port: int) -> None:
    """Run the embedded Kafka-compatible broker until Ctrl-C. It keeps nothing across a restart."""
    from nextreel.kafka.broker import embedded_broker, is_free

    load()
    wanted = port or (9092 if is_free(9092) else 0)
    with embedded_broker(wanted) as bootstrap:
        click.echo(f"listening on {bootstrap}; elsewhere: export NEXTREEL_KAFKA_BOOTSTRAP={bootstrap}")
        _until_interrupted()


@main.command()
@click.pass_obj
def topics(load: Load) -> None:
    """Create the four topics where they are missing."""
    from nextreel.kafka.topics import create_topics

    for topic, created in create_topics(load().kafka).items():
        click.echo(f"{topic}: {'created' if created else 'was there'}")


@main.command()
@click.argument("what", type=click.Choice(list(_TYPES)))
@click.option("--count", type=click.IntRange(1, 10**9), help="How many events; by default until Ctrl-C.")
@click.option("--rate", default="125000", show_default=True, help="Bytes of JSON a second, or max.")
@click.option("--start", type=click.IntRange(0, 10**9), default=0, help="First row of the synthetic feed.")
@click.option("--seed", default=7, show_default=True, help="Seed of the synthetic world.")
@click.option("--users", "n_users", default=2000, show_default=True, help="Users of the world.")
@click.option("--movies", "n_movies", default=600, show_default=True, help="Movies of the world.")
@click.option("--series", "n_series", default=300, show_default=True, help="Series of the world.")
@click.option("--interactions", "n_interactions", default=120_000, show_default=True, help="Its past interactions.")
@click.pass_obj
def produce(load: Load, /, what: str, count: int | None, rate: str, start: int, **world: Any) -> None:
    """Send the synthetic world's users, movies, series or interactions to their topic.

    The four producers together make 500 KB/s, unless --rate says otherwise. When everyone has been sent, profile
    updates follow.
    """
    from nextreel.events.world import WorldConfig
    from nextreel.feed import WorldFeed
    from nextreel.kafka.topics import create_topics, topics_by_type

    kafka, pace = load().kafka, _rate(rate)
    feed = WorldFeed(WorldConfig(end=datetime.now(UTC).replace(microsecond=0), **world))
    create_topics(kafka)
    event_type = _TYPES[what]
    _send(kafka, topics_by_type(kafka)[event_type], feed.rows(event_type, start, count), pace)


@main.group()
def replay() -> None:
    """Send a real data set's events to the topics."""


@replay.command("movielens")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--speed-up", type=_Finite(0.001, 1e12), help="Times real time; by default at once.")
@click.option("--rate", default="max", show_default=True, help="Bytes of JSON a second, or max.")
@click.pass_obj
def replay_movielens(load: Load, directory: Path, speed_up: float | None, rate: str) -> None:
    """Send a MovieLens DIRECTORY (any of the published layouts) in event-time order."""
    from nextreel.feed import MovieLensFeed, at_speed
    from nextreel.kafka.topics import create_topics, topics_by_type

    kafka, pace = load().kafka, _rate(rate)
    feed = MovieLensFeed(directory)
    click.echo(f"{directory}: {feed}", err=True)
    create_topics(kafka)
    for event_type, topic in topics_by_type(kafka).items():
        batches = feed.history(event_type)
        if speed_up and event_type == "interaction":
            batches = at_speed(batches, speed_up)
        _send(kafka, topic, batches, pace)


@main.command()
@click.option("--once", is_flag=True, help="End when everything that Kafka holds now is in the lake.")
@click.pass_obj
def ingest(load: Load, once: bool) -> None:
    """Run the stream from Kafka to the lake, until Ctrl-C."""
    from nextreel.ingest.query import Totals, start_ingest
    from nextreel.lake.session import running_spark

    given = load()
    total = Totals()
    with _status("starting Spark") as status, running_spark(given) as spark:
        query = None
        try:
            query = start_ingest(spark, given, total.add, available_now=once)
            while not query.awaitTermination(0.5):  # type: ignore[arg-type]
                rows = ", ".join(f"{n:,} {table}" for table, n in sorted(total.rows.items()))
                status.update(f"in the lake: {rows or 'nothing yet'}")
        except KeyboardInterrupt:
            if query is not None:
                query.stop()
    click.echo(json.dumps({"rows": dict(total.rows), "bytes": total.bytes, "batches": total.batches}))


@main.command()
@click.pass_obj
def train(load: Load) -> None:
    """Learn from the lake: evaluate, store a model version, make it current. Prints its model.json."""
    from nextreel.lake.session import running_spark
    from nextreel.model.store import ModelStore
    from nextreel.train.job import train as run

    given = load()
    with _status("starting Spark") as status, running_spark(given) as spark:
        training = run(spark, given, status.update)
    click.echo(json.dumps(ModelStore(given.models).facts(training.version), indent=2))


@main.command()
@click.pass_obj
def export(load: Load) -> None:
    """Write final_recommendations.csv from the current model and the lake."""
    from nextreel.insight.export import recommendations_table, write_csv
    from nextreel.lake.layout import Lake
    from nextreel.lake.session import running_spark
    from nextreel.model.store import ModelStore
    from nextreel.train.job import read_lake

    given = load()
    model = ModelStore(given.models).load()
    # Simulated ratings hide nothing from anybody, so none are needed.
    observed = given.ratings.model_copy(update={"simulate": "never"})
    with _status("reading the lake"), running_spark(given) as spark:
        found = read_lake(spark, Lake(given.lake.absolute()), observed)
    seen = found.data.pairs_of(model.user_ids, model.title_ids)
    table = recommendations_table(model, seen, found.users, found.titles, given.export.top_k)
    click.echo(write_csv(table, given.exports))


@main.command()
@click.option("--movielens", type=click.Path(path_type=Path), help="Real ratings: a MovieLens directory.")
@click.option("--once", is_flag=True, help="End after the first export.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def demo(load: Load, movielens: Path | None, once: bool, as_json: bool) -> None:
    """Show the whole system, live: broker, producers, ingest, training, recommendations.

    On the synthetic world, or on real ratings with --movielens. It begins with an empty lake each time, in the folder
    demo of the home directory.
    """
    from nextreel.demo import Demo
    from nextreel.events.movielens_layouts import layout_of
    from nextreel.events.world import WorldConfig
    from nextreel.feed import Feed, MovieLensFeed, WorldFeed
    from nextreel.lake.layout import Lake
    from nextreel.lake.quarantine import reasons
    from nextreel.summary import as_dict, show

    if movielens:
        layout_of(movielens)  # a wrong directory is refused now, not after Spark has started
    given = _fresh_demo(load())
    world = WorldConfig(end=datetime.now(UTC).replace(microsecond=0))

    def make_feed() -> Feed:
        return MovieLensFeed(movielens) if movielens else WorldFeed(world, n_faulty=25)

    console = Console(stderr=as_json)
    console.width = max(console.width, _LEAST_WIDTH)
    with _status("starting", console) as status, Demo(given, make_feed, _Steps(console, status)) as running:
        outcome = running.first_round()
        quarantined = reasons(Lake(given.lake))
        if as_json:
            found = as_dict(outcome, quarantined) | {"since_start_seconds": _process_age()}
            click.echo(json.dumps(found, indent=2))
        else:
            show(console, outcome, quarantined)
        if once:
            return
        coming = "Waiting for events on the topics" if movielens else "Events keep coming"
        console.print(f"{coming}; recommendations are made anew every minute where there are some. Ctrl-C ends it.")
        for latest in running.further_rounds(60.0):
            quality = latest.training.evaluation.ranking["als"].ndcg
            rows = sum(latest.ingested.rows.values())
            console.print(f"{rows:,} messages in the lake; model {latest.training.version}, nDCG@10 {quality:.3f}")


def _fresh_demo(given: Settings) -> Settings:
    """Return the settings with a home of the demonstration's own, emptied of the last one's data."""
    import shutil

    from nextreel.lake.commit import lock
    from nextreel.lake.layout import Lake

    home = given.home / "demo"
    if (home / "lake").exists():
        lock(Lake(home / "lake"))  # another demonstration may be running on it
    for folder in ("lake", "models", "exports"):
        shutil.rmtree(home / folder, ignore_errors=True)
    return given.model_copy(update={"home": home})


def _process_age() -> float:
    """Return the seconds since this process began, its imports included."""
    began = Path("/proc/self/stat")
    if not began.exists():
        return time.monotonic() - _IMPORTED
    ticks = int(began.read_text().rpartition(")")[2].split()[19])
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"), 3)


class _Steps:
    """Shows the demonstration's progress: in one line of a terminal, as lines elsewhere."""

    def __init__(self, console: Console, status: Status):
        self._console = console
        self._status = status
        self._name = ""

    def step(self, text: str) -> None:
        self._name = text
        self._status.update(text)
        if not self._console.is_terminal:
            self._console.print(f"… {text}")

    def count(self, done: int, total: int | None) -> None:
        self._status.update(f"{self._name}: {done:,}" + (f" of {total:,}" if total else ""))


def _status(text: str, console: Console | None = None) -> Status:
    return (console or Console(stderr=True)).status(text)


def _send(kafka: settings.KafkaSettings, topic: str, batches: Iterator[Any], rate: float | None) -> None:
    from nextreel.kafka.producer import Delivery, EventProducer, produce

    began = time.monotonic()
    with _status(f"sending to {topic}") as status:

        def tell(d: Delivery) -> None:
            speed = d.bytes / 1e3 / max(1e-9, time.monotonic() - began)
            status.update(f"{topic}: {d.delivered:,} delivered of {d.sent:,} sent, {speed:,.0f} KB/s")

        delivery = produce(EventProducer(kafka, rate), topic, batches, tell)
    click.echo(
        f"{topic}: {delivery.delivered:,} messages delivered, {delivery.bytes:,} bytes, {delivery.failed} failed"
    )


def _rate(text: str) -> float | None:
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate < math.inf:
        raise click.BadParameter(f"{text!r} is neither a number from 1 on nor max", param_hint="--rate")
    return rate


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    sys.exit(main())
