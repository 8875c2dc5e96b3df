"""The command that shows everything: demo."""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import click
from rich.console import Console
from rich.status import Status

from nextreel.cli.console import LEAST_WIDTH, LiveLine, Load, status_line
from nextreel.settings import Settings

_IMPORTED = time.monotonic()


@click.command()
@click.option("--movielens", type=click.Path(path_type=Path), help="Real ratings: a MovieLens directory.")
@click.option("--once", is_flag=True, help="End after the first export.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def demo(load: Load, movielens: Path | None, once: bool, as_json: bool) -> None:
    """Show the whole system, live: broker, producers, ingest, training, recommendations.

    On the synthetic world, or on real ratings with --movielens. It begins with an empty lake each time, in the folder
    demo of the home directory.
    """
    from nextreel.demo import Demo
    from nextreel.events.movielens_layouts import layout_of
    from nextreel.events.world import WorldConfig
    from nextreel.feed import Feed, MovieLensFeed, WorldFeed
    from nextreel.lake.layout import Lake
    from nextreel.lake.quarantine import reasons
    from nextreel.summary import as_dict, show

    if movielens:
        layout_of(movielens)  # a wrong directory is refused now, not after Spark has started
    given = _fresh_demo(load())
    world = WorldConfig(end=datetime.now(UTC).replace(microsecond=0))

    def make_feed() -> Feed:
        return MovieLensFeed(movielens) if movielens else WorldFeed(world, n_faulty=25)

    console = Console(stderr=as_json)
    console.width = max(console.width, LEAST_WIDTH)
    with status_line("starting", console) as status, Demo(given, make_feed, _Steps(console, status)) as running:
        outcome = running.first_round()
        quarantined = reasons(Lake(given.lake))
        if as_json:
            found = as_dict(outcome, quarantined) | {"since_start_seconds": _process_age()}
            click.echo(json.dumps(found, indent=2))
        else:
            show(console, outcome, quarantined)
        if once:
            return
        coming = "Waiting for events on the topics" if movielens else "Events keep coming"
        console.print(f"{coming}; the API follows each, and a model is made anew every minute where there are some:")
        user = quote(outcome.recommendations["user_id"][0].as_py(), safe="")
        url = running.serve()
        if given.serve.dashboard:
            console.print(f"  dashboard  {url}/?person={user}", soft_wrap=True)
        console.print(f"  API        {url}/v1/users/{user}/recommendations?explain=true", soft_wrap=True)
        console.print("Ctrl-C ends it.")
        for latest in running.further_rounds(60.0):
            quality = latest.training.evaluation.ranking["als"].ndcg
            rows = sum(latest.ingested.rows.values())
            console.print(f"{rows:,} messages in the lake; model {latest.training.version}, nDCG@10 {quality:.3f}")
            if not latest.training.verdict.promoted:
                console.print(f"it did not become current: {latest.training.verdict.why}")


def _fresh_demo(given: Settings) -> Settings:
    """Return the settings with a home of the demonstration's own, emptied of the last one's data."""
    import shutil

    from nextreel.lake.layout import Lake
    from nextreel.lake.locks import lock_writer

    home = given.home / "demo"
    if (home / "lake").exists():
        lock_writer(Lake(home / "lake"))  # another demonstration may be running on it
    for folder in ("lake", "models", "exports"):
        shutil.rmtree(home / folder, ignore_errors=True)
    return given.model_copy(update={"home": home})


def _process_age() -> float:
    """Return the seconds since this process began, its imports included."""
    if sys.platform != "linux":
        return time.monotonic() - _IMPORTED
    ticks = int(Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"), 3)


class _Steps:
    """Shows the demonstration's progress: in one line of a terminal, as lines elsewhere."""

    def __init__(self, console: Console, status: Status):
        self._console = console
        self._status = status
        self._line = LiveLine(status)
        self._name = ""

    def step(self, text: str) -> None:
        self._name = text
        self._status.update(text)
        if not self._console.is_terminal:
            self._console.print(f"… {text}")

    def count(self, done: int, total: int | None) -> None:
        step = self._name.partition(": ")[0]
        self._name = f"{step}: {done:,}" + (f" of {total:,}" if total else "")
        self._status.update(self._name)

    def live(self, text: str) -> None:
        self._line.show(f"{self._name} · {text}")
