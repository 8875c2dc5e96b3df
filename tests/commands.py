"""Command lines as files name them: found, and parsed by click without being run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic import BaseModel

from nextreel.cli import main
from nextreel.errors import SettingsError
from nextreel.settings import Settings, load, variable_of

ROOT = Path(__file__).parents[1]
#: What `./run` knows beside nextreel's own commands.
TASKS = {"test", "check", "bench", "lock", "notebooks"}
#: Variables of nextreel's that are no settings.
OTHER_VARIABLES = {"NEXTREEL_VENV", "NEXTREEL_CONFIG"}
_STARTS = ("./run ", "nextreel ", "curl ", "docker compose ", "export NEXTREEL_", "NEXTREEL_")


def parse(command: click.Command, words: list[str], above: click.Context | None = None) -> None:
    """Parse a command line without running it. Raises `click.UsageError`."""
    context = command.make_context(command.name, list(words), parent=above)
    if isinstance(command, click.Group) and (left := [*context._protected_args, *context.args]):
        _, below, rest = command.resolve_command(context, left)
        assert below is not None
        parse(below, rest, context)


def shell_lines(page: str) -> Iterator[str]:
    """Yield the command lines of a page's blocks, indented or fenced, without prompt, comment and what is beside them.

    What may be left out is there (``[--keep N]``), and a number is 1.
    """
    fenced = False
    for line in page.replace("\\\n", " ").splitlines():
        fenced ^= line.lstrip().startswith("```")
        bare = line.strip().removeprefix("$ ")
        if bare.startswith(_STARTS) and (fenced or line.startswith("    ")):
            command = re.split(r"\s+#\s|\s{2,}|\s*;\s|\s&&\s|\s+>", bare)[0]
            if command != "nextreel":  # that is a row of a table of figures
                yield re.sub(r"\bN\b", "1", re.sub(r"[\[\]]", "", command)).replace("…", "")


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
    return name in known or is_beginning or name.startswith(("NEXTREEL_KAFKA_CLIENT_", "NEXTREEL_SPARK_CONF_"))


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables before a command, and its words."""
    words = shlex.split(line.removeprefix("export "))
    named = {}
    while words and re.match(r"NEXTREEL_\w+=", words[0]):
        name, _, named[name] = words.pop(0).partition("=")
    return named, words
