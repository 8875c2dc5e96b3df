"""Commands around the model: train, export."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.status import Status

from nextreel.cli.console import Load, status_line

if TYPE_CHECKING:
    import pyarrow as pa


#: What `nextreel train` ends with where the version is stored, but was refused promotion.
REFUSED = 3


@click.command()
@click.pass_context
def train(ctx: click.Context) -> None:
    """Learn from the lake: evaluate, store a model version, make it current if it is good enough.

    Prints its model.json, and whether it became current. Exit code 3 where it did not: the version is stored, and
    `nextreel models promote` makes it current all the same.
    """
    from nextreel.lake.session import running_spark
    from nextreel.model.store import ModelStore
    from nextreel.train.job import train as run

    given = ctx.obj()
    with status_line("starting Spark") as status, running_spark(given) as spark:
        training = run(spark, given, status.update)
    version, verdict = training.version, training.verdict
    facts = ModelStore(given.models).facts(version) | {"promotion": asdict(verdict)}
    click.echo(json.dumps(facts, indent=2))
    if not verdict.promoted:
        click.secho(f"{version} is stored, but did not become current: {verdict.why}", fg="yellow", err=True)
        ctx.exit(REFUSED)


@click.command()
@click.pass_obj
def export(load: Load) -> None:
    """Write final_recommendations.csv, and the same as Parquet, from the current model and the lake."""
    from nextreel.insight.export import recommendations, write_recommendations
    from nextreel.lake.layout import Lake
    from nextreel.lake.session import running_spark
    from nextreel.model.store import ModelStore
    from nextreel.train.job import read_lake

    given = load()
    model = ModelStore(given.models).load()
    # Simulated ratings hide nothing from anybody, so none are needed.
    observed = given.ratings.model_copy(update={"simulate": "never"})
    with status_line("reading the lake"), running_spark(given) as spark:
        found = read_lake(spark, Lake(given.lake.absolute()), observed)
    seen = found.data.pairs_of(model.user_ids, model.title_ids)
    tables = recommendations(model, seen, found.users, found.titles, given.export.top_k)
    with status_line("ranking titles for everyone") as status:
        path = write_recommendations(_counted(tables, len(model.user_ids), status), given.exports)
    click.echo(path)


def _counted(tables: "Iterator[pa.Table]", n_users: int, status: Status) -> "Iterator[pa.Table]":
    """Yield recommendations, telling for how many users they are written."""
    done = 0
    for table in tables:
        done += len(table["user_id"].unique())
        status.update(f"recommendations of {done:,} users of {n_users:,}")
        yield table
