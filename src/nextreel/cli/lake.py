"""Commands around the lake: ingest, and what keeps it."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table

from nextreel.cli.console import LiveLine, Load, status_line
from nextreel.errors import InputError
from nextreel.settings import Settings, url_of

if TYPE_CHECKING:
    from nextreel.lake.layout import Lake


@click.command()
@click.option("--once", is_flag=True, help="End when everything that Kafka holds now is in the lake.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Port for Prometheus' metrics; by default the setting ingest.metrics_port; 0 for none.",
)
@click.pass_obj
def ingest(load: Load, once: bool, metrics_port: int | None) -> None:
    """Run the stream from Kafka to the lake, until Ctrl-C."""
    from nextreel.ingest.metrics import served
    from nextreel.ingest.observe import Observer
    from nextreel.ingest.query import Batch, Totals, check_connector, start_ingest
    from nextreel.lake.session import running_spark

    given = load({} if metrics_port is None else {"ingest.metrics_port": str(metrics_port)})
    check_connector(given)
    total = Totals()
    with (
        served(given.ingest.metrics_port, given.ingest.metrics_host) as metrics,
        status_line("starting Spark") as status,
        running_spark(given) as spark,
        Observer(given, metrics) as observer,
    ):

        def on_batch(batch: Batch) -> None:
            total.add(batch)
            observer.batch(batch)

        if port := given.ingest.metrics_port:
            click.echo(f"metrics: {url_of(given.ingest.metrics_host, port)}/metrics", err=True)
        line, query = LiveLine(status), None
        try:
            query = observer.watch(start_ingest(spark, given, on_batch, available_now=once))
            while query.isActive:
                line.show(str(observer.now))
                time.sleep(0.2)  # here Ctrl-C finds us, and not in the middle of a call of the JVM
            query.awaitTermination()  # raises what ended it
        except KeyboardInterrupt:
            if query is not None:
                query.stop()
            if once:  # what is to come after it must not begin on half of what there is
                raise
    click.echo(json.dumps({"rows": dict(total.rows), "bytes": total.bytes, "batches": total.batches}))


@click.group()
def lake() -> None:
    """Look after the lake's files: merge, remove, count, prove, mirror."""


def _lake(given: Settings) -> "Lake":
    """Return the lake of these settings. Raises `InputError` where nothing was ingested, before anything is made."""
    from nextreel.lake.layout import SCHEMAS, Lake

    found = Lake(given.lake.absolute())
    if found.ledger.exists() or any(found.commits.glob("*.json")) or any(map(found.files, SCHEMAS)):
        return found
    raise InputError(
        f"there is no lake in {found.root}: nothing was ingested there. `nextreel ingest` fills it; if yours lies "
        f"elsewhere, the setting home (NEXTREEL_HOME) is to say where: it is {given.home}"
    )


@lake.command()
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
@click.pass_obj
def compact(load: Load, as_json: bool) -> None:
    """Merge small files, and remove days whose time is over (settings upkeep.…). Readers and ingest may go on."""
    from nextreel.lake.compact import compact as run

    given = load()
    found = _lake(given)
    with status_line("merging small files"):
        changes = run(found, given.upkeep, datetime.now(UTC).date())
    if as_json:
        click.echo(json.dumps([asdict(change) for change in changes], indent=2))
        return
    for change in changes:
        became = f"became {len(change.files)}" if change.files else "were removed"
        click.echo(f"{change.folder}: {len(change.sources)} files {became}")
    if not changes:
        click.echo("nothing to merge and nothing to remove")


@lake.command()
@click.option("--json", "as_json", is_flag=True, help="Print the tables as JSON.")
@click.pass_obj
def stats(load: Load, as_json: bool) -> None:
    """Show what each table weighs, by the lake's records."""
    from nextreel.lake.stats import stats as run

    given = load()
    found = run(_lake(given), given.upkeep.small_bytes)
    if as_json:
        click.echo(json.dumps([asdict(table) for table in found], indent=2))
        return
    shown = Table(box=box.SIMPLE_HEAD)
    for name in ("table", "files", "small", "rows", "bytes", "first day", "last day"):
        shown.add_column(name, justify="right" if name in ("files", "small", "rows", "bytes") else "left")
    for t in found:
        numbers = (f"{n:,}" for n in (t.files, t.small_files, t.rows, t.bytes))
        shown.add_row(t.table, *numbers, t.first_day, t.last_day)
    Console().print(shown)


@lake.command()
@click.option("--deep", is_flag=True, help="Look at every message's place, not at files alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def verify(ctx: click.Context, deep: bool, as_json: bool) -> None:
    """Recount the lake against its records; exit code 1 where something is wrong. Readers and ingest may go on."""
    from nextreel.lake.verify import verify as run

    found = _lake(ctx.obj())
    with status_line("counting"):
        verdict = run(found, deep)
    if as_json:
        click.echo(json.dumps(asdict(verdict), indent=2))
    else:
        click.echo(f"{verdict.files:,} files, {verdict.rows:,} rows, of {verdict.messages:,} messages")
        if verdict.absent:
            click.echo(f"{verdict.absent:,} offsets of Kafka held no message, or it was deleted before it was read")
        if verdict.removed:
            click.echo(f"{verdict.removed:,} rows were removed since their time was over")
        for problem in verdict.problems:
            click.secho(f"wrong: {problem}", fg="red")
        click.echo("something is wrong" if verdict.problems else "all as recorded")
    ctx.exit(1 if verdict.problems else 0)


@lake.command()
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_obj
def mirror(load: Load, address: str, as_json: bool) -> None:
    """Copy what is new to an object store, ADDRESS (s3://bucket/folder, gs://, abfss://). Ingest may go on."""
    from nextreel.lake.mirror import Store
    from nextreel.lake.mirror import mirror as run

    found, store = _lake(load()), Store(address)
    with status_line(f"looking at {address}") as status:
        done = run(found, store, lambda n, of: status.update(f"{n:,} of {of:,} files copied"))
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    click.echo(
        f"{address}: {done.copied:,} files copied ({done.bytes:,} bytes), {done.deleted:,} deleted; "
        f"{done.files:,} are there"
    )
