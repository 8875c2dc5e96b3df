"""What the commands share: how they get their settings, show what they do, wait, and read a rate."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.status import Status

from nextreel.settings import Settings

if TYPE_CHECKING:
    from nextreel.model.described import Undescribed

#: What every command is handed: returns the settings as they are now, with more flags on top where some are given.
Load = Callable[..., Settings]

#: Tables are not squeezed into less, as where output goes to a file.
LEAST_WIDTH = 100

#: Where there is no terminal, a live line is printed so often.
_LINE_SECONDS = 10.0


class Listing(click.Group):
    """A group that lists where no command is named: options that come first are those of its command ``list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take arguments that begin with an option, or none, as those of ``list``."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


class LiveLine:
    """A line that changes: in its place in a terminal, from time to time as a line of standard error elsewhere."""

    def __init__(self, status: Status):
        self._status = status
        self._due = time.monotonic() + _LINE_SECONDS

    def show(self, text: str) -> None:
        """Show the line as it is now."""
        if self._status.console.is_terminal:
            self._status.update(text)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + _LINE_SECONDS
            click.echo(text, err=True)


def status_line(text: str, console: Console | None = None) -> Status:
    """Return a line that says what is being done, on standard error unless a console is given."""
    return (console or Console(stderr=True)).status(text)


def step_teller(status: Status) -> Callable[[str], None]:
    """Return what shows the steps of a long command: in their place in a terminal, elsewhere a line each."""
    return status.update if status.console.is_terminal else lambda text: click.echo(text, err=True)


def parse_rate(text: str) -> float | None:
    """Return what ``--rate`` says in bytes a second; None for ``max``."""
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate < math.inf:
        raise click.BadParameter(f"{text!r} is neither a number from 1 on nor max", param_hint="--rate")
    return rate


def until_interrupted(check: Callable[[], None] = lambda: None) -> None:
    """Wait for Ctrl-C, and call ``check`` every second, which raises if there is nothing left to wait for."""
    try:
        while True:
            time.sleep(1.0)
            check()
    except KeyboardInterrupt:
        pass


def tell_undescribed(undescribed: "Undescribed") -> None:
    """Say on standard error how many interactions are of titles, or by users, that no event describes."""
    for line in undescribed.lines():
        click.secho(line, fg="red" if undescribed.is_all else "yellow", bold=undescribed.is_all, err=True)
