"""The command that searches for better settings of the training: tune."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, LiveLine, status_line, step_teller
from nextreel.errors import InputError, NextreelError

if TYPE_CHECKING:
    from rich.status import Status

    from nextreel.settings import Settings, TrainSettings
    from nextreel.train.compare import Comparison, Gain
    from nextreel.train.question import Trainer
    from nextreel.train.tune import Found, Standing
    from nextreel.train.validation import Parts

#: What `nextreel tune` ends with where the settings found are not better.
NOT_BETTER = 3

#: Of whom the table tells, and what.
_BASELINES = ("popularity", "bias")
_ROWS = {"ndcg": "nDCG@10", "recall": "recall@10", "coverage": "coverage", "rmse": "RMSE", "mae": "MAE"}


@click.command()
@click.option(
    "--trials",
    type=click.IntRange(min=2),
    help="Trials in all, earlier runs included; by default 40, or as many as --minutes allow.",
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Time for trials, in place of their number."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file to write; by default tuning/nextreel.toml in the home directory.",
)
@click.option("--force", is_flag=True, help="Replace the settings file where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def tune(
    ctx: click.Context, trials: int | None, minutes: float | None, output: Path | None, force: bool, as_json: bool
) -> None:
    """Search for better settings of the training, and compare them with the present ones.

    Trials are judged by ratings held out of what evaluation leaves to learn from; what evaluation holds out is for the
    comparison alone. The present settings are tried first. Trials are kept: after Ctrl-C, or for more of them, the same
    command goes on. With --trials and --minutes, whichever is over first counts.

    Writes a settings file with what was found. Exit code 3 where that is not better than the present settings.
    """
    flags = {"tuning.trials": trials, "tuning.minutes": minutes}
    given: Settings = ctx.obj({name: str(value) for name, value in flags.items() if value is not None})
    if find_spec("optuna") is None:
        raise NextreelError("tuning needs Optuna: pip install 'nextreel[tune]'; in a clone ./run tune installs it")
    file = output or given.trials / "nextreel.toml"
    _refuse_to_replace(file, force)
    found, comparison = _run(given)
    _refuse_to_replace(file, force)
    _write(file, ctx.obj().model_copy(update={"train": found.train}), comparison)
    if as_json:
        told = found.as_dict(given.train) | {"comparison": comparison.as_dict(), "file": str(file)}
        click.echo(json.dumps(told, indent=2))
    else:
        console = Console()
        console.width = max(console.width, LEAST_WIDTH)
        show(console, given.train, found.train, comparison)
        click.echo(_advice(given.train, found.train, comparison, file))
    if not comparison.better:
        ctx.exit(NOT_BETTER)


def _refuse_to_replace(file: Path, force: bool) -> None:
    if file.exists() and not force:
        raise InputError(f"{file} is there already: --force replaces it, --output FILE writes elsewhere")


def _run(given: "Settings") -> "tuple[Found, Comparison]":
    """Search, then compare what was found with the present settings."""
    from nextreel.train.compare import compare
    from nextreel.train.tune import studies_file, tune

    with status_line("starting Spark") as status, ExitStack() as stack:
        parts, trainer = _read(given, status, stack)
        try:
            found = tune(parts.validation, given, trainer, _Progress(status))
        except KeyboardInterrupt:
            click.echo(f"what was tried is kept in {studies_file(given)}: the same command goes on", err=True)
            raise
        step_teller(status)("comparing with the present settings")
        now = trainer.fit(parts.test.train, given.train)
        tuned = now if found.train == given.train else trainer.fit(parts.test.train, found.train)
        return found, compare(now, tuned, parts.test, given)


def _read(given: "Settings", status: "Status", stack: ExitStack) -> "tuple[Parts, Trainer]":
    """Return the lake's ratings in parts and what fits them; Spark ends with the stack, or now if it is not needed."""
    from nextreel.lake.layout import Lake
    from nextreel.lake.session import running_spark
    from nextreel.ratings.table import simulator
    from nextreel.train.dataset import Profiles
    from nextreel.train.job import choose_engine, read_lake
    from nextreel.train.question import Trainer
    from nextreel.train.validation import parts

    spark = stack.enter_context(running_spark(given))
    step_teller(status)("reading ratings")
    found = read_lake(spark, Lake(given.lake.absolute()), given.ratings)
    held = parts(found.data, found.users, simulator(spark, found.titles, given.ratings), given)
    name, engine = choose_engine(spark, given.train, len(found.data))
    if name == "local":
        stack.close()
    return held, Trainer(name, engine, Profiles.of(found.data, found.users, found.titles))


class _Progress:
    """Tells of trials: how a study begins, then where it stands."""

    def __init__(self, status: "Status"):
        self._line = LiveLine(status)
        self._begun: set[str] = set()

    def __call__(self, standing: "Standing") -> None:
        if standing.study not in self._begun:
            self._begun.add(standing.study)
            if standing.earlier:
                click.echo(f"{standing.name}: goes on from {standing.earlier} trials of an earlier run", err=True)
            elif standing.others:
                fixed = "settings that are not tuned" + (", or factors," if standing.name == "ratings" else "")
                click.echo(
                    f"{standing.name}: a new study, since ratings or {fixed} are not those of earlier ones", err=True
                )
        of = f" of {standing.trials}" if standing.trials else ""
        best = "" if standing.best is None else f": best {standing.metric} {standing.best:.4f}"
        present = "" if standing.present is None else f", present settings {standing.present:.4f}"
        self._line.show(f"{standing.name}, {standing.done}{of} trials{best}{present}")


def _write(file: Path, tuned: "Settings", comparison: "Comparison") -> None:
    from nextreel.durable import write_text
    from nextreel.settings import as_toml
    from nextreel.train.question import TUNED

    lines = [
        f"# Made by nextreel tune, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: the settings of then, with what it found."
    ]
    lines += [f"# {_told(comparison)}."]
    lines += [] if comparison.better else ["# That is not better: keep the settings of then."]
    file.parent.mkdir(parents=True, exist_ok=True)
    found = [f"train.{name}" for names in TUNED.values() for name in names]
    write_text(file, "\n".join([*lines, as_toml(tuned, found)]))


def show(console: Console, present: "TrainSettings", tuned: "TrainSettings", comparison: "Comparison") -> None:
    """Print the settings found beside the present ones, and how both do; these alone where nothing better was found."""
    from nextreel.train.question import TUNED

    trained = {"now": present} if tuned == present else {"now": present, "tuned": tuned}
    table = _table("Settings of the section train", *trained)
    for name in (name for names in TUNED.values() for name in names):
        table.add_row(name, *(f"{getattr(train, name):g}" for train in trained.values()))
    console.print(table)
    what = "simulated ratings" if comparison.simulated else "ratings"
    console.print(
        f"Learned anew from {comparison.n_train:,} ratings, and judged by "
        f"{comparison.n_test:,} {what} that no trial has seen, {comparison.held_out}; lists for "
        f"{comparison.n_users_ranked:,} users."
    )
    columns = (*trained, *_BASELINES)
    table = _table("", *columns)
    for metric, name in _ROWS.items():
        table.add_row(name, *_cells(comparison, metric, columns))
    console.print(table)
    if tuned != present:
        console.print(_told(comparison) + ".")


def _table(title: str, *columns: str) -> Table:
    heading = f"[bold]{title}[/]" if title else None
    table = Table(title=heading, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(comparison: "Comparison", metric: str, columns: Iterable[str]) -> Iterator[Text]:
    """Yield a metric of each who is told of, with its interval where it has one."""
    group = "accuracy" if metric in ("rmse", "mae") else "ranking"
    for who in columns:
        values = getattr(comparison.quality, group).get(who)
        measured = values is not None and not isnan(getattr(values, metric))
        cell = Text(f"{getattr(values, metric):.3f}" if measured else "")
        interval = comparison.quality.intervals[group].get(who, {}).get(metric)
        if interval is not None and measured:
            cell.append(f" {interval.low:.3f}-{interval.high:.3f}", style="dim")
        yield cell


def _told(comparison: "Comparison") -> str:
    """Return what the tuned settings gain."""
    gains = (("nDCG@10", comparison.ndcg), ("RMSE", comparison.rmse))
    return "Tuned: " + "; ".join(f"{name} {_gain(gain)}" for name, gain in gains if not isnan(gain.value))


def _gain(gain: "Gain") -> str:
    low, high = gain.interval
    return f"{gain.verdict}, {gain.value:+.4f} ({low:+.4f} to {high:+.4f})"


def _advice(present: "TrainSettings", tuned: "TrainSettings", comparison: "Comparison", file: Path) -> str:
    if comparison.simulated:
        return f"Nobody gave any of these ratings: they prove nothing. Keep the present settings. ({file})"
    if tuned == present:
        return f"Nothing that was tried is better than the present settings: keep them. ({file})"
    if comparison.better:
        return f"Better than the present settings. To train with them: nextreel --config {file} train"
    return f"Not better than the present settings: keep those. What was found is in {file}"
