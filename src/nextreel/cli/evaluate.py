"""The command that judges without storing anything: evaluate."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, Load, status_line, step_teller, tell_undescribed

if TYPE_CHECKING:
    from nextreel.model.described import Undescribed
    from nextreel.settings import Settings
    from nextreel.train.evaluate import Evaluation, Quality
    from nextreel.train.measure import Interval

Format = Callable[[float], str]


@click.command()
@click.option("--split", type=click.Choice(["random", "last", "time"]), help="What is held out: evaluation.split.")
@click.option("--last-k", type=click.IntRange(min=1), help="With --split last: each user's so many newest ratings.")
@click.option("--since", metavar="SHARE|TIME", help="With --split time: 0.8 for the last fifth of them, or 2026-01-31.")
@click.option("--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Titles in a list.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.pass_obj
def evaluate(load: Load, split: str | None, last_k: int | None, since: str | None, k: int, as_json: bool) -> None:
    """Judge a model of the lake on ratings that it has not seen, beside its baselines.

    Trains as `nextreel train` does, but only on what is not held out, and stores nothing. Figures come with 95 %
    confidence intervals, and by how much users have rated. docs/evaluation.md has the definitions.
    """
    flags = {"evaluation.split": split, "evaluation.last_k": last_k, "evaluation.since": since}
    given = load({name: str(value) for name, value in flags.items() if value is not None})
    for option, value, kind in (("--last-k", last_k, "last"), ("--since", since, "time")):
        if value is not None and given.evaluation.split != kind:
            raise click.UsageError(f"{option} goes with --split {kind}, not {given.evaluation.split}")
    engine, found, undescribed = _run(given, k)
    tell_undescribed(undescribed)
    if as_json:
        told = {"engine": engine, "undescribed": undescribed.as_dict()}
        click.echo(json.dumps(told | found.as_dict(), indent=2))
    else:
        console = Console()
        console.width = max(console.width, LEAST_WIDTH)
        show(console, found)


def _run(given: "Settings", k: int) -> "tuple[str, Evaluation, Undescribed]":
    """Return the ALS engine's name, what it came to, and how much is of titles or users that no event describes."""
    from nextreel.errors import ModelError
    from nextreel.lake.layout import Lake
    from nextreel.lake.session import running_spark
    from nextreel.ratings.table import simulator
    from nextreel.train.dataset import Profiles
    from nextreel.train.evaluate import evaluate
    from nextreel.train.fit import fit_model
    from nextreel.train.job import choose_engine, read_lake
    from nextreel.train.splits import split

    lake = Lake(given.lake.absolute())
    with status_line("starting Spark") as status, running_spark(given) as spark:
        tell = step_teller(status)
        tell("reading ratings")
        found = read_lake(spark, lake, given.ratings)
        parts = split(found.data, found.users, simulator(spark, found.titles, given.ratings), given)
        if len(parts.test) == 0 or len(parts.train) == 0:
            why = "".join(f" ({line})" for line in found.undescribed.lines()[:1])
            raise ModelError(
                f"of the {len(found.data):,} ratings in {lake.root}, {parts.held_out}, are {len(parts.test):,}: there "
                f"must be some to judge by and some to learn from{why}"
            )
        name, engine = choose_engine(spark, given.train, len(parts.train))
        tell(f"{name} ALS, {given.train.factors} factors, {len(parts.train):,} ratings")
        profiles = Profiles.of(found.data, found.users, found.titles)
        model = fit_model(parts.train, given.train, engine, profiles=profiles)
        tell("judging")
        return name, evaluate(model, parts, given, k), found.undescribed


def show(console: Console, found: "Evaluation") -> None:
    """Print an evaluation, for a person."""
    what = "simulated ratings" if found.simulated else "ratings"
    console.print(
        f"[bold]How good it is[/], learned from {found.n_train:,} ratings, on {found.n_test:,} held-out {what}: "
        f"{found.held_out}"
    )
    console.print(_ranking(found))
    console.print(_accuracy(found))
    console.print(_segments(found, "ranking", "ndcg", f"nDCG@{found.k}"))
    console.print(_segments(found, "accuracy", "rmse", "RMSE"))
    console.print("[dim]Dim: 95 % confidence intervals, by resampling users.[/]")


def _ranking(found: "Evaluation") -> Table:
    table = _table(f"Lists of {found.k} titles for {found.n_users_ranked:,} users", "", *map(_name, found.ranking))
    metrics: dict[str, tuple[str, Format]] = {
        "ndcg": (f"nDCG@{found.k}", _decimal),
        "recall": (f"recall@{found.k}", _decimal),
        "precision": (f"precision@{found.k}", _decimal),
        "map": (f"MAP@{found.k}", _decimal),
        "mrr": (f"MRR@{found.k}", _decimal),
        "coverage": ("coverage", "{:.1%}".format),
        "novelty": ("novelty, bits", "{:.2f}".format),
        "mean_popularity": ("ratings a title", "{:,.1f}".format),
        "diversity": ("diversity", _decimal),
    }
    for metric, (name, text) in metrics.items():
        table.add_row(name, *_cells(found, "ranking", metric, text))
    return table


def _accuracy(found: "Evaluation") -> Table:
    table = _table("Predicted ratings, in stars", "", *map(_name, found.accuracy))
    for metric in ("rmse", "mae"):
        table.add_row(metric.upper(), *_cells(found, "accuracy", metric, _decimal))
    return table


def _segments(found: "Evaluation", group: str, metric: str, name: str) -> Table:
    table = _table(f"{name} by how much users have rated in training", "", *map(_name, getattr(found, group)))
    for segment, quality in found.segments.items():
        rated = f"{quality.least:,}" if quality.least == quality.most else f"{quality.least:,} to {quality.most:,}"
        who = Text(segment).append(f"\n{rated} ratings, {quality.n_users:,} users", style="dim")
        table.add_row(who, *_cells(quality, group, metric, _decimal, "\n"))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"[bold]{title}[/]", title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    return table


def _cells(found: "Quality", group: str, metric: str, text: Format, between: str = " ") -> Iterator[Text]:
    """Yield a metric of each who recommends, with its interval where it has one."""
    for who, values in getattr(found, group).items():
        interval: Interval | None = found.intervals[group][who].get(metric)
        cell = Text(text(getattr(values, metric)))
        if interval is not None:
            cell.append(f"{between}{text(interval.low)}-{text(interval.high)}", style="dim")
        yield cell


def _decimal(value: float) -> str:
    return f"{value:.3f}"


def _name(who: str) -> str:
    return who.replace("als", "nextreel")
