"""Real data sets as events: replay movielens, catalogue, users, interactions; check shows what would be read."""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, Load, parse_rate, status_line
from nextreel.cli.kafka import send
from nextreel.cli.strangers import escaped, shown
from nextreel.events.contract import TABLES
from nextreel.settings import KafkaSettings, Settings

if TYPE_CHECKING:
    from nextreel.files.adapt import Table
    from nextreel.files.mapping import Kind
    from nextreel.files.outcome import Read, Refused

#: Examples of a reason, and values of a field, that are shown; each so long at the most.
_EXAMPLES, _WIDTH = 3, 90
#: What files may be.
_KINDS = "CSV, TSV, JSON, Excel or Parquet; gzipped or not"

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


class _Finite(click.FloatRange):
    """A range that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found


_rate = click.option("--rate", default="max", show_default=True, help="Bytes of JSON a second, or max.")
_speed_up = click.option("--speed-up", type=_Finite(0.001, 1e12), help="Times real time; by default at once.")
_map = click.option(
    "--map", "mapping", type=_FILE, help="Mapping of columns (TOML); what it leaves open is guessed from the file."
)
_catalogue = click.option(
    "--catalogue", type=_FILE, help="Catalogue that the file's titles are looked up in; by default the lake's, if any."
)


@click.group()
def replay() -> None:
    """Send a real data set's events to the topics: MovieLens, or files of your own."""


@replay.command("movielens")
@click.argument("directory", type=click.Path(path_type=Path))
@_speed_up
@_rate
@click.pass_obj
def replay_movielens(load: Load, directory: Path, speed_up: float | None, rate: str) -> None:
    """Send a MovieLens DIRECTORY (any of the published layouts) in event-time order."""
    from nextreel.feed import MovieLensFeed, at_speed
    from nextreel.kafka.topics import create_topics, topics_by_type

    kafka, pace = load().kafka, parse_rate(rate)
    feed = MovieLensFeed(directory)
    click.echo(f"{directory}: {feed}", err=True)
    create_topics(kafka)
    for event_type, topic in topics_by_type(kafka).items():
        batches = feed.history(event_type)
        if speed_up and event_type == "interaction":
            batches = at_speed(batches, speed_up)
        send(kafka, topic, batches, pace)


def _files(kind: "Kind", doc: str) -> None:
    """Add the command that sends files of one kind."""

    @replay.command(kind, help=doc)
    @click.argument("file", type=_FILE)
    @_map
    @_rate
    @click.option("--rejected", type=_NEW_FILE, help="Write rows that are not sent here, as JSON lines.")
    @_catalogue
    @click.pass_obj
    def command(
        load: Load, file: Path, mapping: Path | None, rate: str, rejected: Path | None, catalogue: Path | None
    ) -> None:
        from nextreel.files.outcome import Read, Refusals

        settings, pace = load(), parse_rate(rate)
        with _new(rejected, "--rejected") as lines:

            def keep(each: "Refused") -> None:
                lines.write(json.dumps(asdict(each), ensure_ascii=False) + "\n")

            table, read = _table(file, kind, mapping, settings, catalogue), Read(refused=Refusals(keep))
            _show_notes(table, err=True)
            is_whole = _send_all(table, read, settings.kafka, pace)
            _show_doubts(table, read, err=True)
            _show_refused(read, err=True)
        if not is_whole:
            click.get_current_context().exit(130)
        if read.rows and not read.events.total():
            click.get_current_context().exit(1)


@contextmanager
def _new(path: Path | None, option: str) -> Iterator[IO[str]]:
    """Open a file that is not there yet, before anything is done that is to be written to it."""
    try:
        file = open(path or os.devnull, "x" if path else "w", encoding="utf-8")  # noqa: SIM115 (closed below)
    except FileExistsError:
        raise click.BadParameter(f"{path} is there already", param_hint=option) from None
    try:
        with file:
            yield file
    except BaseException:
        if path and path.stat().st_size == 0:  # what failed before it said anything can be asked for again
            path.unlink()
        raise


_files("catalogue", f"Send movies and series of a FILE ({_KINDS}) to their topics.")
_files("users", f"Send users of a FILE ({_KINDS}) to their topic.")
_files(
    "interactions",
    f"Send interactions of a FILE ({_KINDS}) to their topic, in its order.",
)


@replay.command("check")
@click.argument("kind", type=click.Choice(["catalogue", "users", "interactions"]))
@click.argument("file", type=_FILE)
@_map
@_catalogue
@click.option("--write", type=_NEW_FILE, help="Write the mapping here, to be changed by hand.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def check(
    load: Load,
    kind: "Kind",
    file: Path,
    mapping: Path | None,
    catalogue: Path | None,
    write: Path | None,
    as_json: bool,
) -> None:
    """Show what would be read of a FILE and what not; send nothing. Every event is held against the contract."""
    from nextreel.files.mapping import as_toml
    from nextreel.files.outcome import Read

    with _new(write, "--write") as lines:
        table, read = _table(file, kind, mapping, load(), catalogue), Read()
        lines.write(as_toml(table.mapping, kind, table.has_file_kind))
    with status_line(f"reading {file}"):
        examples = _judged(table, read, load().contract.max_clock_skew_seconds)
    if as_json:
        click.echo(json.dumps(_as_json(table, read), indent=2, ensure_ascii=False))
        return
    _show_notes(table)
    _show(table, read, examples)
    if mapping is None and write is None:
        click.echo(
            "\nThe columns were guessed. --write mapping.toml writes that down, to be changed and given as --map."
        )


def _send_all(table: "Table", read: "Read", kafka: KafkaSettings, rate: float | None) -> bool:
    """Send a file's events to the topics of their types, and tell whether it was all.

    Ctrl-C ends it early, with what was sent delivered.
    """
    from nextreel.kafka.producer import EventProducer
    from nextreel.kafka.topics import create_topics, topics_by_type

    create_topics(kafka)
    topics, producer, is_whole = topics_by_type(kafka), EventProducer(kafka, rate), True
    with status_line(f"sending {table.path}") as status:
        try:
            for event_type, batch in table.events(read):
                producer.send(topics[event_type], batch)
                status.update(f"{table.path}: {producer.delivery.delivered:,} delivered of {read.rows:,} rows")
        except KeyboardInterrupt:
            is_whole = False
        delivery = producer.flush()
    what = ", ".join(f"{n:,} {TABLES[event_type]}" for event_type, n in read.events.items()) or "nothing"
    rows = f"{read.rows:,} rows" + ("" if is_whole else " that were read until it was ended early: send it again")
    click.echo(f"{table.path}: {what} of {rows}; {delivery.delivered:,} messages delivered")
    return is_whole


def _table(file: Path, kind: "Kind", mapping: Path | None, settings: Settings, catalogue: Path | None) -> "Table":
    """Return a file to be read, surveyed, with the titles that are described where they are known."""
    from nextreel.files.adapt import Table
    from nextreel.files.mapping import read_mapping
    from nextreel.files.outcome import Read

    max_skew_seconds = settings.contract.max_clock_skew_seconds
    table = Table(file, kind, read_mapping(mapping) if mapping else None, max_skew_seconds=max_skew_seconds)
    with status_line(f"reading {file}"):
        table.survey()
        if kind == "interactions":
            if catalogue is None:
                table.described = _titles_of_lake(settings)
            else:
                titles = Table(catalogue, "catalogue").events(Read())
                table.described = frozenset(title for _, batch in titles for title in batch.column("id").to_pylist())
    return table


def _titles_of_lake(settings: Settings) -> frozenset[str] | None:
    """Return ids of the lake's titles; None where it has none, or cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nextreel.events.contract import TITLE_TYPES
    from nextreel.lake.layout import Lake

    lake = Lake(settings.lake)
    titles: set[str] = set()
    for event_type in TITLE_TYPES:
        for path in lake.files(TABLES[event_type]):
            with suppress(OSError, pa.ArrowException):  # merged by maintenance while it is read
                titles.update(pq.read_table(path, columns=["id"]).column("id").to_pylist())
    return frozenset(titles) or None


def _judged(table: "Table", read: "Read", max_skew_seconds: float) -> dict[str, list[Any]]:
    """Read all of a file, let ingest judge every event, and return the first values of each field."""
    from datetime import UTC, datetime

    import pyarrow as pa

    from nextreel.events.encode import encode
    from nextreel.files.outcome import Refused
    from nextreel.ingest.parse import parse

    examples: dict[str, dict[str, list[Any]]] = {}
    now = datetime.now(UTC)
    for event_type, batch in table.events(read):
        n = batch.num_rows
        messages = pa.record_batch(
            {
                "key": batch.column("id").cast(pa.binary()),
                "value": encode(batch),
                "topic": pa.repeat(event_type, n),
                "partition": pa.repeat(pa.scalar(0, pa.int32()), n),
                "offset": pa.array(range(n), pa.int64()),
                "timestamp": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), n),
            }
        )
        judged = parse(messages, {event_type: event_type}, now, max_skew_seconds).rejected
        for row in judged.to_pylist():
            read.events[event_type] -= 1
            (event,) = batch.slice(row["kafka_offset"], 1).to_pylist()
            read.filled.subtract(name for name, value in event.items() if value is not None)
            read.refused.append(Refused(0, row["reason"], f"{row['detail']}: {shown(row['raw'], _WIDTH)}"))
        for name in batch.schema.names:
            values = examples.setdefault(name, {}).setdefault(event_type, [])
            if len(values) < _EXAMPLES:
                values += batch.column(name).drop_null()[: _EXAMPLES - len(values)].to_pylist()
    return {name: _in_turn(by_type.values()) for name, by_type in examples.items()}


def _in_turn(several: Iterable[list[Any]]) -> list[Any]:
    """Return the first examples of several lists: one of each, then the next of each."""
    none = object()
    mixed = [value for turn in zip_longest(*several, fillvalue=none) for value in turn if value is not none]
    return mixed[:_EXAMPLES]


def _as_json(table: "Table", read: "Read") -> dict[str, Any]:
    return {
        "file": str(table.path),
        "rows": read.rows,
        "notes": table.notes,
        "mapping": table.mapping.model_dump(),
        "unused_columns": table.unused,
        "events": dict(read.events),
        "filled": dict(read.filled),
        "left_out_cells": {name: left.count for name, left in read.left_out.items()},
        "left_out": {name: [{"row": n, "cell": cell} for n, cell in left.kept] for name, left in read.left_out.items()},
        "refused_rows": dict(read.refused.by_reason),
        "refused": [asdict(each) for each in read.refused],
        "repeated_rows": read.repeated,
        "undescribed_interactions": read.n_undescribed if table.described is not None else None,
        "undescribed_titles": dict(read.undescribed.most_common(_EXAMPLES)),
    }


def _show_notes(table: "Table", err: bool = False) -> None:
    for note in table.notes:
        click.echo(f"guessed: {escaped(note)}", err=err)


def _show(table: "Table", read: "Read", examples: dict[str, list[Any]]) -> None:
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    total = max(1, sum(read.events.values()))
    fields = Shown(box=box.SIMPLE_HEAD)
    for name in ("field", "column", "filled", "first values"):
        fields.add_column(name, overflow="fold" if name == "first values" else "ellipsis")
    for name, values in examples.items():
        column = table.mapping.columns.get(name, "")
        told = "; ".join(_value(value) for value in values)
        fields.add_row(name, Text(escaped(column)), f"{100 * read.filled[name] / total:.1f} %", Text(told))
    console.print(fields)
    for name, left in read.left_out.items():
        some = ", ".join(f"row {n:,} {_short(cell)!r}" for n, cell in left.kept[:_EXAMPLES])
        click.echo(f"left out of {name}, as no rule reads them: {left.count:,}, {some}")
    if table.unused:
        click.echo(f"columns that become nothing: {', '.join(escaped(name) for name in table.unused)}")
    what = ", ".join(f"{n:,} {TABLES[event_type]}" for event_type, n in read.events.items()) or "nothing"
    click.echo(f"would be sent: {what}, of {read.rows:,} rows")
    _show_doubts(table, read)
    _show_refused(read)


def _show_doubts(table: "Table", read: "Read", err: bool = False) -> None:
    """Show what is sent and may be a mistake: rows that are repeated, titles that nothing describes."""
    if read.repeated:
        click.echo(f"rows that say what an earlier row says: {read.repeated:,}; each counts as an event", err=err)
    if read.n_undescribed:
        some = ", ".join(repr(_short(title)) for title, _ in read.undescribed.most_common(_EXAMPLES))
        click.echo(
            f"interactions of titles that the catalogue does not have: {read.n_undescribed:,} of "
            f"{read.events['interaction']:,}, as {some}. The catalogue's ids are written as "
            f"{', '.join(repr(_short(title)) for title in sorted(table.described or ())[:_EXAMPLES])}",
            err=err,
        )


def _show_refused(read: "Read", err: bool = False) -> None:
    """Show what was not read, by reason, with examples."""
    for reason, count in read.refused.by_reason.most_common():
        click.echo(f"rejected, {reason}: {count:,}", err=err)
        for each in read.refused.kept(reason)[:_EXAMPLES]:
            at = f"row {each.row:,}: " if each.row else ""
            click.echo(f"  {at}{_short(each.detail)}", err=err)


def _value(value: Any) -> str:
    text = (
        ", ".join(value)
        if isinstance(value, list)
        else value.isoformat()
        if hasattr(value, "isoformat")
        else str(value)
    )
    return _short(text)


def _short(text: str) -> str:
    line = escaped(text)
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
