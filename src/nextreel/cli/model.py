"""Commands around the model: train, export."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from nextreel.cli.console import LEAST_WIDTH, LiveLine, Load, status_line, step_teller, tell_undescribed

if TYPE_CHECKING:
    import pyarrow as pa

    from nextreel.lake.layout import Lake
    from nextreel.model.model import Model
    from nextreel.settings import Settings


#: What `nextreel train` ends with where the version is stored, but was refused promotion.
REFUSED = 3


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print its model.json, and what was decided.")
@click.pass_context
def train(ctx: click.Context, as_json: bool) -> None:
    """Learn from the lake: evaluate, store a model version, make it current if it is good enough.

    Exit code 3 where it did not become current: the version is stored, and `nextreel models promote` makes it current
    all the same.
    """
    from nextreel.lake.session import running_spark
    from nextreel.model.store import ModelStore
    from nextreel.summary import quality
    from nextreel.train.job import train as run

    given = ctx.obj()
    with status_line("starting Spark") as status, running_spark(given) as spark:
        # spark-submit makes one stream of Python's two, and JSON must stay JSON in it.
        training = run(spark, given, status.update if as_json else step_teller(status))
    version, verdict = training.version, training.verdict
    if as_json:
        facts = ModelStore(given.models).facts(version) | {"promotion": asdict(verdict)}
        click.echo(json.dumps(facts, indent=2))
    else:
        console = Console()
        console.width = max(console.width, LEAST_WIDTH)
        console.print(quality(training.evaluation))
    tell_undescribed(training.undescribed)
    if verdict.promoted and not as_json:
        click.echo(f"{version} is current: {verdict.why}")
    if not verdict.promoted:
        click.secho(f"{version} is stored, but did not become current: {verdict.why}", fg="yellow", err=True)
        ctx.exit(REFUSED)


@click.command()
@click.option("--star-only", is_flag=True, help="Write the star alone: without Spark, within seconds.")
@click.pass_obj
def export(load: Load, star_only: bool) -> None:
    """Write final_recommendations.csv, and the star schema behind the dashboards, both as CSV and as Parquet.

    Recommendations are by the current model, for everybody as they are now: who came after its training is in them, by
    what they declare and have rated since, and new titles are recommended by what they are. Spark ranks for more users
    than this machine should hold (export.engine). The star has them, and all that users did.
    """
    given = load()
    if not star_only:
        click.echo(_recommendations(given))
    click.echo(_star(given))


def _star(given: "Settings") -> Path:
    from nextreel.insight.star_files import write_star
    from nextreel.insight.warehouse import Warehouse

    with status_line("writing the star"), Warehouse(given) as warehouse:
        warehouse.refresh()
        return write_star(warehouse, given.exports)


def _recommendations(given: "Settings") -> Path:
    from nextreel.insight.engine import choose_engine
    from nextreel.lake.layout import Lake
    from nextreel.model.store import ModelStore

    store = ModelStore(given.models)
    version = store.current() or ""
    model = store.load(version or None)
    lake = Lake(given.lake.absolute())
    engine, why = choose_engine(given.export, lake, model)
    with status_line(f"recommending {why}") as status:
        write = _on_spark if engine == "spark" else _on_this_machine
        return write(given, lake, model, version, LiveLine(status).show)


def _on_this_machine(
    given: "Settings", lake: "Lake", model: "Model", version: str, show: Callable[[str], None]
) -> Path:
    from nextreel.insight.export import write_recommendations
    from nextreel.lake.session import running_spark
    from nextreel.model.lists import recommendations
    from nextreel.train.dataset import Profiles
    from nextreel.train.job import read_lake
    from nextreel.train.now import up_to_date

    with running_spark(given) as spark:
        show("reading the lake")
        found = read_lake(spark, lake, given.ratings)
    show("solving for everyone on this machine")
    now = up_to_date(model, found.data, Profiles.of(found.data, found.users, found.titles))
    tables = recommendations(
        now, found.data.pairs(), found.users, found.titles, given.export.top_k, given.export.diversity
    )
    return write_recommendations(_counted(tables, len(now.user_ids), show), given.exports, version)


def _on_spark(given: "Settings", lake: "Lake", model: "Model", version: str, show: Callable[[str], None]) -> Path:
    from nextreel.insight.export import write_parts
    from nextreel.lake.session import running_spark
    from nextreel.train.everyone import write_everyone

    def users(done: int, total: int) -> None:
        show(f"recommendations on Spark: {done:,} users of {total:,}")

    def rows(done: int, total: int) -> None:
        show(f"the CSV: {done:,} recommendations of {total:,}")

    with running_spark(given) as spark:
        show("reading the lake on Spark")
        everyone = partial(write_everyone, spark, lake, model, given.export, given.ratings, progress=users)
        return write_parts(everyone, given.exports, version, rows)


def _counted(tables: "Iterator[pa.Table]", n_users: int, show: Callable[[str], None]) -> "Iterator[pa.Table]":
    """Yield recommendations, telling for how many users they are written."""
    done = 0
    for table in tables:
        yield table
        done += len(table["user_id"].unique())
        show(f"recommendations on this machine: {done:,} users of {n_users:,}")
