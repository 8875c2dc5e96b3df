"""Commands around the quarantine: list, show, export, replay."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, Listing, Load, status_line
from nextreel.cli.strangers import escaped, indented, shown
from nextreel.events.contract import EXPLAINED, Reason

if TYPE_CHECKING:
    from nextreel.ingest.replay import Outcome, Refusal
    from nextreel.lake.layout import Lake
    from nextreel.lake.quarantine import Held, Quarantined

#: Of a message, so many characters are shown: as an example among others, and alone.
_EXAMPLE, _WHOLE = 100, 20_000

_FILE = click.Path(path_type=Path, dir_okay=False)

_reason = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([str(r) for r in Reason], case_sensitive=False),
    help="Of this reason alone; may be given several times.",
)
_topic = click.option("--topic", "topics", multiple=True, help="Of this topic alone; may be given several times.")
_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group(cls=Listing)
def quarantine() -> None:
    """Look at rejected messages, export them, and send them again after a fix. Without a command: list."""


@quarantine.command("list")
@_reason
@_topic
@click.option("--examples", default=3, show_default=True, type=click.IntRange(0, 100), help="Newest messages a reason.")
@_json
@click.pass_obj
def list_reasons(load: Load, reasons: tuple[str, ...], topics: tuple[str, ...], examples: int, as_json: bool) -> None:
    """Show what is in quarantine by reason: how many, since when, from where, and examples."""
    from nextreel.lake.quarantine import Selection, held

    found = held(_lake(load), Selection(reasons, topics), examples)
    if as_json:
        click.echo(json.dumps([_plain(h) for h in found], indent=2))
        return
    _show_list(found)
    if nothing := _nothing(found, reasons, topics, load().kafka.topics):
        click.echo(escaped(nothing))


@quarantine.command()
@click.argument("place", metavar="TOPIC/PARTITION/OFFSET")
@click.option("--raw", "as_raw", is_flag=True, help="Write the message's very bytes, and nothing else.")
@_json
@click.pass_context
def show(ctx: click.Context, place: str, as_raw: bool, as_json: bool) -> None:
    """Show one message: why it was rejected, its key, headers and value, and whether it was sent again."""
    from nextreel.lake.place import Place
    from nextreel.lake.quarantine import find
    from nextreel.lake.quarantine_file import as_record
    from nextreel.lake.replays import replayed_at

    if as_raw and as_json:
        raise click.UsageError("--raw and --json exclude each other")
    lake, wanted = _lake(ctx.obj), Place.parse(place)
    message = find(lake, wanted)
    if message is None:
        click.secho(f"error: {escaped(place)} is not in the quarantine of {lake.root}", fg="red", err=True)
        ctx.exit(1)
    replayed = replayed_at(lake, wanted)
    if as_raw:
        sys.stdout.buffer.write(message.value or b"")
    elif as_json:
        moments = {"sent_at": message.sent_at, "ingested_at": message.ingested_at}
        plain = as_record(message) | {name: _iso(at) for name, at in moments.items()}
        click.echo(json.dumps(plain | {"replayed_at": [_iso(at) for at in replayed]}, indent=2))
    else:
        _show_message(message, replayed)


@quarantine.command()
@click.argument("file", type=_FILE)
@_reason
@_topic
@click.option("--force", is_flag=True, help="Overwrite FILE where it exists.")
@_json
@click.pass_obj
def export(
    load: Load, file: Path, reasons: tuple[str, ...], topics: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Write messages to FILE as JSON lines, to be edited by hand and sent with replay --from FILE."""
    from nextreel.lake.quarantine import Selection, messages
    from nextreel.lake.quarantine_file import write_export

    with status_line(f"writing {file}"):
        n = write_export(file, messages(_lake(load), Selection(reasons, topics)), force)
    click.echo(json.dumps({"file": str(file), "messages": n}) if as_json else f"{_messages(n)} in {file}")


@quarantine.command()
@_reason
@_topic
@click.option("--place", "places", multiple=True, help="This message alone (TOPIC/PARTITION/OFFSET); several times.")
@click.option("--from", "file", type=_FILE, help="Send the lines of this edited export.")
@click.option("--all", "anyway", is_flag=True, help="Send what would still be rejected, too.")
@click.option("--dry-run", is_flag=True, help="Send nothing; say what would be sent.")
@_json
@click.pass_context
def replay(ctx: click.Context, /, **given: Any) -> None:
    """Send messages again to their topics after a fix: those that the contract accepts now.

    Each goes with its key and headers, and a header nextreel-replay-of that names its place. What was sent is
    recorded, and not sent again. Exit code 1 where a message that was named (--place, --from) is still rejected; 2,
    with nothing sent, where one is not in quarantine.
    """
    from nextreel.ingest.replay import Replay
    from nextreel.lake.place import Place
    from nextreel.lake.quarantine import Selection

    selection = Selection(given["reasons"], given["topics"], {Place.parse(text) for text in given["places"]})
    refusals: list[dict[str, Any]] = []
    named = bool(given["places"] or given["file"])

    def told(refusal: "Refusal") -> None:
        if named:
            refusals.append(_told(refusal))

    settings = ctx.obj()
    skew = settings.contract.max_clock_skew_seconds
    run = Replay(_lake(ctx.obj), settings.kafka, selection, given["file"], given["anyway"], told, skew)
    outcome = run.plan() if given["dry_run"] else _replayed(run.run)
    if given["as_json"]:
        click.echo(json.dumps(_as_dict(outcome, given["dry_run"], refusals), indent=2))
    else:
        _show_outcome(outcome, given["dry_run"], given["anyway"], refusals)
    ctx.exit(1 if refusals and not given["anyway"] else 0)


def _lake(load: Load) -> "Lake":
    from nextreel.lake.layout import Lake

    return Lake(load().lake.absolute())


def _replayed(run: "Callable[[Callable[[Outcome], None]], Outcome]") -> "Outcome":
    with status_line("sending") as status:
        return run(lambda outcome: status.update(f"{_messages(outcome.sent.total())} sent and acknowledged"))


def _show_list(found: "list[Held]") -> None:
    if not found:
        return
    console = _console()
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("reason", "messages", "replayed", "first (UTC)", "last (UTC)", "topics"):
        justify: Literal["left", "right"] = "right" if name in ("messages", "replayed") else "left"
        table.add_column(name, justify=justify, overflow="fold")
    for h in found:
        counts = f"{h.messages:,}", f"{h.replayed:,}", _moment(h.first)[:16], _moment(h.last)[:16]
        table.add_row(*map(_text, (h.reason, *counts)), Text("\n").join(map(_text, _counts(h.topics))))
    console.print(table)
    for h in found:
        if h.examples:
            _show_examples(console, h)


def _nothing(found: "list[Held]", reasons: Sequence[str], topics: Sequence[str], existing: Sequence[str]) -> str:
    """Return what to say of topics, or of all that was asked for, where nothing was found; "" where all was."""
    missing = [topic for topic in dict.fromkeys(topics) if not any(topic in h.topics for h in found)]
    if found and not missing:
        return ""
    text = f"nothing{' of ' if missing else ''}{', '.join(missing)} is in quarantine"
    if reasons:
        text += f" for {', '.join(reasons)}"
    if set(missing) <= set(existing):
        return text
    return f"{text}; the topics that nextreel reads are {', '.join(existing)}"


def _show_examples(console: Console, held: "Held") -> None:
    console.print(Text.assemble((escaped(held.reason), "bold"), f": {_explained(held.reason)[0]}"), soft_wrap=True)
    for example in held.examples:
        size = "null" if example.bytes is None else f"{example.bytes:,} bytes"
        told = f"  {escaped(str(example.place))}  ", (f"{size}; {escaped(example.detail)}", "dim")
        console.print(Text.assemble(*told), soft_wrap=True)
        if example.bytes:
            console.print(Text(f"    {shown(example.start, _EXAMPLE)}"), soft_wrap=True)
    console.print()


def _show_message(message: "Quarantined", replayed: list[datetime]) -> None:
    means, remedy = _explained(message.reason)
    size = "no value" if message.value is None else f"{len(message.value):,} bytes"
    lines = {
        "place": str(message.place),
        "reason": f"{message.reason}: {means}",
        "detail": message.detail,
        "what to do": remedy,
        "sent (UTC)": _moment(message.sent_at),
        "arrived": _moment(message.ingested_at),
        "replayed": ", ".join(map(_moment, replayed)) or "no",
        "key": "none" if message.key is None else shown(message.key, _EXAMPLE),
        "headers": ", ".join(
            f"{key}={'null' if value is None else shown(value, _EXAMPLE)}" for key, value in message.headers
        ) or "none",
        "value": size,
    }  # fmt: skip
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, _text(text))
    console = _console()
    console.print(table)
    if message.value:
        console.print()
        console.print(Text(indented(message.value, _WHOLE)), soft_wrap=True)


def _show_outcome(outcome: "Outcome", dry_run: bool, anyway: bool, refusals: list[dict[str, Any]]) -> None:
    for told in refusals:
        at = f"line {told['line']}, {told['place']}" if told["line"] else told["place"]
        click.echo(escaped(f"{at}: {told['reason']}: {told['detail']}"))
    n = outcome.sent.total()
    what = "would be sent again" if dry_run else "sent again"
    click.echo(f"{_messages(n)} {what}{': ' if n else ''}{escaped(_counted(outcome.sent))}")
    if outcome.refused:
        sent = "sent all the same" if anyway else "not sent (--all sends them)"
        click.echo(f"{outcome.refused.total():,} would be rejected again: {_counted(outcome.refused)}; {sent}")
    if outcome.already:
        click.echo(f"{outcome.already:,} were sent before, and are not sent again")


def _plain(held: "Held") -> dict[str, Any]:
    means, remedy = _explained(held.reason)
    return {
        "reason": held.reason,
        "means": means,
        "remedy": remedy,
        "messages": held.messages,
        "replayed": held.replayed,
        "first": _iso(held.first),
        "last": _iso(held.last),
        "topics": dict(held.topics),
        "examples": [
            {"place": str(e.place), "detail": e.detail, "bytes": e.bytes, "start": shown(e.start, _EXAMPLE)}
            for e in held.examples
        ],
    }


def _as_dict(outcome: "Outcome", dry_run: bool, refusals: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {"sent": dict(outcome.sent), "bytes": outcome.bytes, "already_sent": outcome.already}
    return {"dry_run": dry_run} | counts | {"rejected": dict(outcome.refused), "rejections": refusals}


def _told(refusal: "Refusal") -> dict[str, Any]:
    message = refusal.message
    return {
        "line": message.line or None,
        "place": str(message.place),
        "reason": str(refusal.reason),
        "detail": refusal.detail,
    }


def _explained(reason: str) -> tuple[str, str]:
    """Return what a reason means and what to do; of a reason that is no longer in use nothing is known."""
    found = EXPLAINED.get(Reason(reason)) if reason in set(Reason) else None
    return (found.means, found.remedy) if found else ("", "")


def _messages(n: int) -> str:
    return f"{n:,} message{'' if n == 1 else 's'}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(_counts(counts))


def _counts(counts: Mapping[str, int]) -> list[str]:
    return [f"{name} {n:,}" for name, n in Counter(counts).most_common()]


def _text(text: str) -> Text:
    return Text(escaped(text))


def _moment(at: datetime | None) -> str:
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _console() -> Console:
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    return console
