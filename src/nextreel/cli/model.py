"""Commands around the model: train, export."""

import json

import click

from nextreel.cli.console import Load, status_line


@click.command()
@click.pass_obj
def train(load: Load) -> None:
    """Learn from the lake: evaluate, store a model version, make it current. Prints its model.json."""
    from nextreel.lake.session import running_spark
    from nextreel.model.store import ModelStore
    from nextreel.train.job import train as run

    given = load()
    with status_line("starting Spark") as status, running_spark(given) as spark:
        training = run(spark, given, status.update)
    click.echo(json.dumps(ModelStore(given.models).facts(training.version), indent=2))


@click.command()
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
    with status_line("reading the lake"), running_spark(given) as spark:
        found = read_lake(spark, Lake(given.lake.absolute()), observed)
    seen = found.data.pairs_of(model.user_ids, model.title_ids)
    table = recommendations_table(model, seen, found.users, found.titles, given.export.top_k)
    click.echo(write_csv(table, given.exports))
