"""The Power BI project: powerbi."""

import sys
from pathlib import Path

import click

from nextreel.cli.console import Load


@click.command()
@click.option(
    "--data",
    help="Folder of the exported star as Power BI will see it, as C:\\nextreel\\exports\\star (default: the exports').",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the project to (default: powerbi in the home directory).",
)
@click.option("--overwrite", is_flag=True, help="Write over files that were changed since they were written.")
@click.option("--check", is_flag=True, help="Write nothing: say what is wrong with the project that is there.")
@click.pass_obj
def powerbi(load: Load, data: str | None, output: Path | None, overwrite: bool, check: bool) -> None:
    """Write the Power BI project: a semantic model and a report over the exported star.

    Open nextreel.pbip in Power BI Desktop and press Refresh. Its measures are the dashboard's, its pages the
    dashboard's views. Pages and files that you add to it stay when it is written again.
    """
    from nextreel.insight.powerbi import read_project, write_project
    from nextreel.insight.powerbi_check import problems
    from nextreel.insight.star_files import FOLDER

    folder = output or load().home / "powerbi"
    if check:
        found = problems(read_project(folder))
        for problem in found:
            click.echo(problem, err=True)
        sys.exit(1 if found else 0)
    where = str((load().exports / FOLDER).absolute()) if data is None else data
    click.echo(write_project(folder, where, overwrite))
