"""Write the reference pages that are made from the code: ``python docs/generate.py``. A test holds them current."""

import runpy
from pathlib import Path

import click
from pydantic import BaseModel

from nextreel.cli import main
from nextreel.events.contract import EXPLAINED, FIELDS, NOT_APPLICABLE, Field
from nextreel.insight.metrics import DIMENSIONS, METRICS, Metric
from nextreel.insight.star import STAR
from nextreel.settings import Settings, variable_of

_HERE = Path(__file__).parent
_NOTE = "<!-- Made by docs/generate.py: change the code, not this page. -->\n\n"

_RULES = """\
## Event time

An event time may be at most `contract.max_clock_skew_seconds` (900) ahead of the message's arrival. Arrival
is Kafka's timestamp of the message (CreateTime or LogAppendTime). A timestamp before 2011, or further ahead
of the reader's clock than the same skew, counts as unknown: -1, seconds, microseconds, a producer's clock
that is a year ahead. Such a message arrives when it is read. Ingest, the server's follower, API writes,
`quarantine replay` and `replay` decide by the same function: the server ignores what ingest quarantines, and
nothing else. One case depends on the reader: where Kafka's timestamp is unknown and the event time lies ahead
as well, ingest quarantines the event, and a server that reads the message after that time takes it until the
next model.

## Identity

`id` identifies a user or a title; the newest event of an id counts: by event time, then by Kafka's timestamp,
partition and offset. An interaction is identified by `id_usuario`, `id_contenido`, `evento` and `id`
together. An interaction that is delivered or sent again counts once, with its newest event time; the same
`id` of another user or with another title is another interaction. The rating of a user and title is that of
the newest `rate` event, whatever its id. `fact_interaction`, `fact_rating`, training and the server follow
these rules.
"""


def contract() -> str:
    """Return the wire contract as Markdown."""
    lines = [
        "# The wire contract\n",
        _NOTE + "JSON, UTF-8, one event a message. Movies and series share one space of ids.\n",
        "The key of a user's or title's message is its `id`; that of an interaction is the user's id, `id_usuario`, so",
        "that all events of a user are in one partition, in order. Kafka's Java partitioner chooses the partition",
        "(murmur2 of the key's UTF-8 bytes). nextreel reads messages with any key, or none. Keep log compaction off",
        "the interactions' topic (`cleanup.policy=delete`): it would leave one interaction of each user.\n",
    ]
    lines += ["| field | kind | what it is | in | required in | allowed |", "|---|---|---|---|---|---|"]
    for f in FIELDS:
        types, required = ", ".join(f.types), ", ".join(f.required)
        lines.append(f"| `{f.name}` | {f.kind} | {f.doc} | {types} | {required} | {_allowed(f)} |")
    lines += [
        f'\nTolerated: `"{NOT_APPLICABLE}"` or an empty string in any field means null, and is left out of an array;',
        "a number where a string is due is that number's text; unknown fields are ignored and counted; of a field that",
        "a message has twice the last counts.\n",
        _RULES,
        "## Quarantine\n",
        "A message that breaks the contract is quarantined, with its bytes, its key, its headers, its place in Kafka",
        "and one of these reasons. [quarantine.md](quarantine.md) shows how to look at it and send it again.\n",
        "| reason | what it means | what to do |",
        "|---|---|---|",
        *[f"| {reason} | {told.means} | {told.remedy} |" for reason, told in EXPLAINED.items()],
    ]
    return "\n".join(lines) + "\n"


def _allowed(f: Field) -> str:
    """Return what a field of the contract may hold."""
    if f.choices:
        return ", ".join(f.choices)
    if f.kind == "number":
        return f"{f.low} to {f.high}"
    if f.kind == "strings":
        return f"at most {f.max_entries} entries of {f.max_characters:,} characters"
    return f"at most {f.max_characters:,} characters" if f.kind == "string" else ""


def settings() -> str:
    """Return every setting as Markdown."""
    lines = [
        "# Settings\n",
        _NOTE + "Flag (`--set KEY=VALUE`) over environment over file (`nextreel.toml`) over default.\n",
    ]
    lines += [
        "`<NAME>` is the name of a setting of librdkafka's or Spark's, with underscores for its dots. Variables have",
        "no capital letters to tell: Spark's settings that need them go into the file or `--set`.\n",
    ]
    lines += ["| key | environment | default | what it is |", "|---|---|---|---|", *_rows(Settings, "")]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    rows = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _rows(field.annotation, f"{key}.")
            continue
        default = field.get_default(call_default_factory=True)
        rows.append(f"| `{key}` | `{variable_of(key)}` | `{default}` | {field.description or ''} |")
    return rows


def cli() -> str:
    """Return the help of every command as Markdown."""
    return "# The command line\n\n" + _NOTE + "\n".join(_help(main, ["nextreel"])) + "\n"


def _help(command: click.Command, path: list[str]) -> list[str]:
    context = click.Context(command, info_name=" ".join(path), terminal_width=100, max_content_width=100)
    lines = [f"## {' '.join(path)}\n", "```", command.get_help(context), "```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None  # noqa: S101 (it was just listed)
            lines += _help(child, [*path, name])
    return lines


def metrics() -> str:
    """Return every metric, dimension and table of the star as Markdown."""
    lines = [
        "# Metrics\n",
        _NOTE
        + "Each is defined once, in `src/nextreel/insight/metrics.py`, for the dashboard, `/v1/insight`, the exports",
        "and Power BI. In SQL the fact is `f`, its title `t`, its user `u`; a ratio divides two others.\n",
        "| metric | what it says | unit | SQL | DAX |",
        "|---|---|---|---|---|",
    ]
    for m in METRICS:
        sql = m.sql if isinstance(m, Metric) else f"{m.numerator} / {m.denominator}"
        lines.append(f"| `{m.name}` {m.title} | {m.doc} | {m.unit} | `{_cell(sql)}` | `{_cell(m.dax)}` |")
    lines += ["\n## Dimensions\n", "| dimension | of | column in Power BI |", "|---|---|---|"]
    lines += [f"| `{d.name}` {d.title} | {', '.join(d.sql)} | `{d.column}` |" for d in DIMENSIONS]
    lines.append("\n## The star schema\n")
    for table in STAR:
        lines += [f"### {table.name}\n", f"{table.doc}\n", "| column | kind | what it is |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.kind} | {c.doc} |" for c in table.columns]
        lines.append("")
    return "\n".join(lines)


def _cell(code: str) -> str:
    return code.replace("|", "\\|")


def scale() -> str:
    """Return the page on scale with its tables, which ``docs/scale.py`` computes, as they are now."""
    page = (_HERE / "scale.md").read_text("utf-8")
    for name, table in runpy.run_path(str(_HERE / "scale.py"))["TABLES"].items():
        begin, end = f"<!-- {name}: made by docs/scale.py -->\n\n", f"\n\n<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        if not after:
            raise ValueError(f"scale.md has no place for the table {name}")
        page = before + begin + table() + end + after
    return page


PAGES = {"contract.md": contract, "settings.md": settings, "cli.md": cli, "metrics.md": metrics, "scale.md": scale}

if __name__ == "__main__":
    for page, text in PAGES.items():
        (_HERE / page).write_text(text(), "utf-8")
