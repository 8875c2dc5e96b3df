"""Command lines as files name them: found, and parsed by click without being run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from pydantic import BaseModel

from nextreel.cli import main
from nextreel.errors import SettingsError
from nextreel.settings import Settings, load, variable_of

ROOT = Path(__file__).parents[1]
#: What `./run` knows beside nextreel's own commands.
TASKS = {"test", "check", "bench", "lock", "notebooks"}
#: Variables of nextreel's that are no settings.
OTHER_VARIABLES = {"NEXTREEL_VENV", "NEXTREEL_CONFIG", "NEXTREEL_TEST_KAFKA_HOME"}
_STARTS = ("./run ", "nextreel ", "curl ", "docker compose ", "export NEXTREEL_", "NEXTREEL_")
_OTHERS = ("cd ", "cp ", "export ", "mkdir ", "python ", "python3 ", "spark-submit ", "tar ", ".venv/bin/python ")
#: A block is typed into a shell that begins with one of these, or has a line that does with one of those.
_SHELL, _ALWAYS = (*_STARTS, *_OTHERS), ("./run ", "run.cmd ", "docker ", "curl ", "pip ", "git ")
#: Before a block: it is not run here, and why.
NOT_RUN = re.compile(r"<!-- not run[^:]*: (\S[^\n]*) -->")


def parse(command: click.Command, words: list[str], above: click.Context | None = None) -> None:
    """Parse a command line without running it. Raises `click.UsageError`."""
    context = command.make_context(command.name, list(words), parent=above)
    if isinstance(command, click.Group) and (left := [*context._protected_args, *context.args]):
        _, below, rest = command.resolve_command(context, left)
        assert below is not None
        parse(below, rest, context)


class Session(NamedTuple):
    """A page's block of command lines, as they are typed, and why they are not run."""

    lines: list[str]
    why_not: str | None


def sessions(page: str) -> Iterator[Session]:
    """Yield the blocks of a page that are typed into a shell, without comments, prompts and what is printed."""
    for before, language, block in _blocks(page):
        lines = [re.split(r"(?:^|\s)#\s", line)[0].strip() for line in block.replace("\\\n", " ").splitlines()]
        lines = [line for line in lines if line] or [""]
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        is_typed = prompted or lines[0].startswith(_SHELL) or any(line.startswith(_ALWAYS) for line in lines)
        if is_typed and language not in ("sql", "python", "json"):
            why = NOT_RUN.fullmatch(before)
            yield Session(prompted or lines, why[1] if why else None)


def shell_lines(page: str) -> Iterator[str]:
    """Yield the commands of a page's blocks that tests can parse, each without what it is chained with."""
    for session in sessions(page):
        for line in session.lines:
            for command in re.split(r"\s*;\s|\s&&\s|\s+>", line):
                if command.startswith(_STARTS):
                    yield command.replace("…", "")


def _blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield blocks of code: the line of text before, the language if it is named, the block."""
    before = ""
    for found in re.finditer(
        r"^```(\w*)\n(.+?)^```$|((?:^ {4,}\S[^\n]*\n(?:\n+(?= {4}))?)+)|^([^\n]*)\n", page, re.MULTILINE | re.DOTALL
    ):
        language, fenced, indented, other = found.groups(default="")
        if block := fenced or indented:
            yield before, language, block
        before = other.strip() or before


def spans(page: str) -> Iterator[str]:
    """Yield the commands that a page names in its sentences, but for those that stand for several."""
    for span in re.findall(r"`((?:\./run|nextreel) [^`]+)`", page):
        if not re.search(r"[|;…]|&&", span):
            yield " ".join(span.split())


def nextreel_faults(words: list[str], is_whole: bool = True) -> Iterator[str]:
    """Yield what is wrong with a command line of `./run` or `nextreel`, which begins with either.

    Of one that is not whole, what has to follow may be missing.
    """
    given = words[1:]
    if words[0] == "./run" and given and given[0] in TASKS:
        named = given[1].replace("-", "_") if given[0] == "bench" and given[1:] else "NAME"
        if named != "NAME" and not (ROOT / "benchmarks" / f"{named}.py").exists():
            yield f"there is no benchmark {named}"
        for path in given[1:] if given[0] == "test" else []:
            if path.startswith("tests/") and not (ROOT / path).exists():
                yield f"there is no {path}"
        return
    sets = [given[place + 1] for place, word in enumerate(given[:-1]) if word == "--set"]
    try:
        load(dict(each.split("=", 1) for each in sets), {})
    except SettingsError as error:
        yield str(error)
    try:
        parse(main, given)
    except click.UsageError as error:
        if is_whole or not isinstance(error, click.MissingParameter | click.exceptions.NoArgsIsHelpError):
            yield error.format_message()


def keys_of(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield the keys of all settings, as ``train.factors``, those of tables in their section among them."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{prefix}{name}.")


def is_variable(name: str) -> bool:
    """Tell whether an environment variable, or the beginning of several, sets something."""
    known = {variable_of(key) for key in keys_of()} | OTHER_VARIABLES
    is_beginning = name.endswith("_") and any(each.startswith(name) for each in known)
    return (
        name in known
        or is_beginning
        or name.startswith(("NEXTREEL_KAFKA_CLIENT_", "NEXTREEL_SPARK_CONF_", "NEXTREEL_TEST_"))
    )


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables before a command, and its words."""
    words = shlex.split(line.removeprefix("export "))
    named = {}
    while words and re.match(r"NEXTREEL_\w+=", words[0]):
        name, _, named[name] = words.pop(0).partition("=")
    return named, words
