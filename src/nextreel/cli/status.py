"""The command that tells how things stand: status."""

import json

import click
from rich.console import Console

from nextreel.cli.console import LEAST_WIDTH, Load


@click.command()
@click.option("--five-vs", is_flag=True, help="Volume, velocity, variety, veracity and value, measured.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def status(load: Load, five_vs: bool, as_json: bool) -> None:
    """Tell how things stand: ingest, lake, Kafka, model, exports. Without Spark, and beside a running ingest."""
    import nextreel.five_vs as measured
    import nextreel.status as stands

    given = load()
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    if five_vs:
        figures = measured.five_vs(given)
        if as_json:
            click.echo(json.dumps(measured.as_dict(figures), indent=2))
        else:
            measured.show(console, figures)
        return
    found = stands.status(given)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        stands.show(console, found)
