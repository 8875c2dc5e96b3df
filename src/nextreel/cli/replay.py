"""Real data sets as events: replay movielens, catalogue, users, interactions; check shows what would be read."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, Load, parse_rate, status_line
from nextreel.cli.kafka import send
from nextreel.cli.strangers import escaped, shown
from nextreel.events.contract import TABLES
from nextreel.settings import KafkaSettings

if TYPE_CHECKING:
    from nextreel.events.adapt import Read, Refused, Table
    from nextreel.events.mapping import Kind, Mapping

#: Examples of a reason, and values of a field, that are shown; each so long at the most.
_EXAMPLES, _WIDTH = 3, 90

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
    "--map", "mapping", type=_FILE, help="Mapping of columns (TOML); by default guessed by their names."
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
    @click.pass_obj
    def command(load: Load, file: Path, mapping: Path | None, rate: str, rejected: Path | None) -> None:
        from nextreel.events.adapt import Read

        kafka, pace = load().kafka, parse_rate(rate)
        table, read = _table(file, kind, mapping), Read()
        _send_all(table, read, kafka, pace)
        _tell_refused(read, err=True)
        if rejected is not None:
            lines = [json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in read.refused]
            rejected.write_text("".join(lines), "utf-8")


_files("catalogue", "Send movies and series of a FILE (CSV or Parquet) to their topics.")
_files("users", "Send users of a FILE (CSV or Parquet) to their topic.")
_files("interactions", "Send interactions of a FILE (CSV or Parquet) to their topic, in its order.")


@replay.command("check")
@click.argument("kind", type=click.Choice(["catalogue", "users", "interactions"]))
@click.argument("file", type=_FILE)
@_map
@click.option("--write", type=_NEW_FILE, help="Write the mapping here, to be changed by hand.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def check(kind: "Kind", file: Path, mapping: Path | None, write: Path | None, as_json: bool) -> None:
    """Show what would be read of a FILE and what not; send nothing. Every event is held against the contract."""
    from nextreel.events.adapt import Read
    from nextreel.events.mapping import as_toml

    if write is not None and write.exists():
        raise click.BadParameter(f"{write} is there already", param_hint="--write")
    table, read = _table(file, kind, mapping), Read()
    with status_line(f"reading {file}"):
        examples = _judged(table, read)
    if write is not None:
        write.write_text(as_toml(table.mapping, kind), "utf-8")
    if as_json:
        click.echo(json.dumps(_as_json(table, read), indent=2, ensure_ascii=False))
        return
    _show(table, read, examples)
    if mapping is None and write is None:
        click.echo(
            "\nThe columns were guessed. --write mapping.toml writes that down, to be changed and given as --map."
        )


def _send_all(table: "Table", read: "Read", kafka: KafkaSettings, rate: float | None) -> None:
    """Send a file's events to the topics of their types; Ctrl-C ends it early, with what was sent delivered."""
    from nextreel.kafka.producer import EventProducer
    from nextreel.kafka.topics import create_topics, topics_by_type

    create_topics(kafka)
    topics, producer = topics_by_type(kafka), EventProducer(kafka, rate)
    with status_line(f"sending {table.path}") as status:
        try:
            for event_type, batch in table.events(read):
                producer.send(topics[event_type], batch)
                status.update(f"{table.path}: {producer.delivery.delivered:,} delivered of {read.rows:,} rows")
        except KeyboardInterrupt:
            pass
        delivery = producer.flush()
    what = ", ".join(f"{n:,} {TABLES[event_type]}" for event_type, n in read.events.items()) or "nothing"
    click.echo(f"{table.path}: {what} of {read.rows:,} rows; {delivery.delivered:,} messages delivered")


def _table(file: Path, kind: "Kind", mapping: Path | None) -> "Table":
    from nextreel.events.adapt import Table
    from nextreel.events.cells import first_rows
    from nextreel.events.mapping import guess, read_mapping

    found: Mapping = read_mapping(mapping) if mapping else guess(*first_rows(file), kind)
    return Table(file, kind, found)


def _judged(table: "Table", read: "Read") -> dict[str, list[Any]]:
    """Read all of a file, let ingest judge every event, and return the first values of each field."""
    from datetime import UTC, datetime

    import pyarrow as pa

    from nextreel.events.adapt import Refused
    from nextreel.events.encode import encode
    from nextreel.ingest.parse import parse

    examples: dict[str, list[Any]] = {}
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
        judged = parse(messages, {event_type: event_type}, now).rejected
        for row in judged.to_pylist():
            read.events[event_type] -= 1
            read.refused.append(Refused(0, row["reason"], f"{row['detail']}: {shown(row['raw'], _WIDTH)}"))
        for name in batch.schema.names:
            values = examples.setdefault(name, [])
            if len(values) < _EXAMPLES:
                values += batch.column(name).drop_null()[: _EXAMPLES - len(values)].to_pylist()
    return examples


def _as_json(table: "Table", read: "Read") -> dict[str, Any]:
    return {
        "file": str(table.path),
        "rows": read.rows,
        "mapping": table.mapping.model_dump(),
        "unused_columns": table.unused,
        "events": dict(read.events),
        "filled": dict(read.filled),
        "left_out": {name: [{"row": n, "cell": cell} for n, cell in cells] for name, cells in read.left_out.items()},
        "refused": [asdict(each) for each in read.refused],
    }


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
    for name, cells in read.left_out.items():
        some = ", ".join(f"row {n:,} {_short(cell)!r}" for n, cell in cells[:_EXAMPLES])
        click.echo(f"left out of {name}, as no rule reads them: {len(cells):,}, {some}")
    if table.unused:
        click.echo(f"columns that become nothing: {', '.join(escaped(name) for name in table.unused)}")
    what = ", ".join(f"{n:,} {TABLES[event_type]}" for event_type, n in read.events.items()) or "nothing"
    click.echo(f"would be sent: {what}, of {read.rows:,} rows")
    _tell_refused(read)


def _tell_refused(read: "Read", err: bool = False) -> None:
    """Say what was not read, by reason, with examples."""
    by_reason: dict[str, list[Refused]] = {}
    for each in read.refused:
        by_reason.setdefault(each.reason, []).append(each)
    for reason, refused in sorted(by_reason.items(), key=lambda found: -len(found[1])):
        click.echo(f"rejected, {reason}: {len(refused):,}", err=err)
        for each in refused[:_EXAMPLES]:
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
