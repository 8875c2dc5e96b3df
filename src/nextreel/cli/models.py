"""Commands around model versions: list, show, promote, rollback, prune."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, Listing, Load
from nextreel.cli.strangers import escaped

if TYPE_CHECKING:
    from nextreel.model.journal import Decision
    from nextreel.model.store import ModelStore

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group(cls=Listing)
def models() -> None:
    """Look at model versions, choose the current one, remove old ones. Without a command: list."""


@models.command("list")
@_json
@click.pass_obj
def list_versions(load: Load, as_json: bool) -> None:
    """Show all versions: how good each is beside its baselines, which is current, and why others are not."""
    store = _store(load)
    rows = list(_rows(store))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _show(_console(), rows)
    else:
        click.echo(f"no model in {store.root} yet; `nextreel train` makes one")


@models.command()
@click.argument("version", required=False)
@_json
@click.pass_obj
def show(load: Load, version: str | None, as_json: bool) -> None:
    """Show all that model.json says of a version, by default the current one, and what was decided about it."""
    from nextreel.errors import ModelError

    store = _store(load)
    wanted = version or store.current()
    if wanted is None:
        raise ModelError(f"no model in {store.root} is current: name a version (`nextreel models list`)")
    store.check(wanted)
    decisions = [asdict(d) for d in store.decisions() if d.version == wanted]
    found = store.facts(wanted) | {"current": wanted == store.current(), "decisions": decisions}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(found):
        table.add_row(Text(escaped(name)), Text(escaped(value)))
    console = _console()
    console.width = max(
        console.width, *(len(name) + len(value) + 1 for name, value in _flat(found) if len(value) < LEAST_WIDTH)
    )
    console.print(table)


@models.command()
@click.argument("version")
@_json
@click.pass_obj
def promote(load: Load, version: str, as_json: bool) -> None:
    """Make a version the current one, whatever its figures say. It must be one that can be read."""
    store = _store(load)
    before = store.current()
    store.promote(version, "asked for by nextreel models promote")
    _tell_change(version, before, as_json)


@models.command()
@_json
@click.pass_obj
def rollback(load: Load, as_json: bool) -> None:
    """Make the version current that was so before. Another rollback goes one further back."""
    store = _store(load)
    before = store.current()
    _tell_change(store.rollback(), before, as_json)


@models.command()
@click.option(
    "--keep", type=click.IntRange(min=1), help="Newest versions to keep; by default the setting versions.keep."
)
@_json
@click.pass_obj
def prune(load: Load, keep: int | None, as_json: bool) -> None:
    """Remove old versions, and what interrupted trainings have left.

    The current version, the one before it and the newest ones stay, and so does what is being read or written.
    """
    given = load({} if keep is None else {"versions.keep": str(keep)})
    pruned = _store(load).prune(given.versions.keep)
    if as_json:
        click.echo(json.dumps(asdict(pruned), indent=2))
        return
    for name in pruned.removed:
        click.echo(f"{name} was removed")
    for name in pruned.leftovers:
        click.echo(f"{name} was removed: an interrupted process had left it")
    for name in pruned.in_use:
        click.echo(f"{name} is being read, and stays")
    if not any(asdict(pruned).values()):
        click.echo("nothing to remove")


def _store(load: Load) -> "ModelStore":
    from nextreel.model.store import ModelStore

    return ModelStore(load().models)


def _tell_change(version: str, before: str | None, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"current": version, "before": before}))
    elif version == before:
        click.echo(f"{version} is current, as before")
    else:
        click.echo(f"{version} is current; before it {before or 'none'} was")


def _rows(store: "ModelStore") -> Iterator[dict[str, Any]]:
    """Yield what is worth a line of each version, the newest first; None is what is not known."""
    from nextreel.errors import ModelError
    from nextreel.train.promote import Figures

    current, decided = store.current(), {d.version: d for d in store.decisions()}
    for version in reversed(store.versions()):
        try:
            facts, error = store.facts(version), None
        except ModelError as damage:
            facts, error = {}, str(damage)
        figures = asdict(Figures.of(facts))
        decision = decided.get(version)
        yield {
            "version": version,
            "current": version == current,
            "created_at": facts.get("created_at"),
            "ratings": facts.get("data", {}).get("ratings"),
            **{name: _known(figures[name]) for name in ("ndcg", "popularity_ndcg", "rmse", "bias_rmse")},
            "simulated": figures["simulated"],
            "standing": "damaged" if error else _standing(decision, version == current),
            "decided_at": decision.at if decision else None,
            "why": error or (decision.why if decision else None),
        }


def _standing(decision: "Decision | None", is_current: bool) -> str:
    """Return what became of a version, by the last decision about it."""
    if is_current:
        return "current"
    if decision is None:
        return "undecided"
    return "refused" if decision.deed == "refused" else "was current"


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in ("version", "created (UTC)", "ratings", "nDCG@10\n(popularity)", "RMSE\n(biases)", ""):
        table.add_column(name, justify="right" if name == "ratings" else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row["version"],
            (row["created_at"] or "unknown")[:16].replace("T", " "),
            "unknown" if row["ratings"] is None else f"{row['ratings']:,}",
            _beside(row["ndcg"], row["popularity_ndcg"]),
            _beside(row["rmse"], row["bias_rmse"]),
            row["standing"],
            style="bold" if row["current"] else None,
        )
    console.print(table)
    for row in rows:
        if row["why"]:
            console.print(Text(escaped(f"{row['version']} {row['standing']}: {row['why']}")), soft_wrap=True)


def _beside(own: float | None, baseline: float | None) -> str:
    if own is None or baseline is None:
        return "unknown"
    return f"{own:.3f} ({baseline:.3f})"


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _flat(found: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested objects and lists by their dotted names."""
    if isinstance(found, dict | list):
        entries = found.items() if isinstance(found, dict) else enumerate(found)
        for key, value in entries:
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, "unknown" if found is None else str(found)


def _console() -> Console:
    console = Console(highlight=False)
    console.width = max(console.width, LEAST_WIDTH)
    return console
