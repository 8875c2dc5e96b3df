"""``nextreel recommend``: one user's recommendations, by the current model, without Kafka, Spark or a server."""

import json
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextreel.cli.console import LEAST_WIDTH, Load
from nextreel.cli.strangers import escaped

_STRATEGIES = {
    "personal": "by what {user} rated and did",
    "preferences": "by what {user} declares to like",
    "popular": "what is popular, since nothing is known of {user}'s taste",
}


@click.command()
@click.argument("user_id")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many titles.")
@click.option("--type", "kind", type=click.Choice(["movie", "series"]), help="Of one type alone.")
@click.option("--genre", "genres", multiple=True, help="Of a genre; several: of any of them.")
@click.option("--include-seen", is_flag=True, help="Also what the user has rated or watched.")
@click.option("--explain", is_flag=True, help="Say why each is recommended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API answers.")
@click.pass_obj
def recommend(
    load: Load,
    user_id: str,
    count: int,
    kind: str | None,
    genres: tuple[str, ...],
    include_seen: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Print one user's recommendations, as the current model's training left things.

    Events since then are not in it: `nextreel serve` follows them. Whoever is not known gets what is popular.
    """
    from nextreel.errors import ModelError
    from nextreel.model.store import ModelStore
    from nextreel.serve.answers import Answers
    from nextreel.serve.choices import Choice
    from nextreel.serve.live import Asked
    from nextreel.serve.serving import load_live

    given = load()
    store = ModelStore(given.models)
    version = store.current()
    if version is None:
        raise ModelError(store.no_current())
    live, _ = load_live(store, version, given)
    live.rank()
    asked = Asked(count, choice=Choice(kind, frozenset(genres)), include_seen=include_seen)
    found = Answers(live, given.ratings.weights).recommendations(user_id, asked, explain)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(user_id, found)


def _show(user_id: str, found: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "title", "type", "genres", "predicted"):
        table.add_column(name, justify="right" if name in ("", "predicted") else "left", overflow="fold")
    for item in found["items"]:
        texts = (item["title"] or item["content_id"], item["type"] or "", ", ".join(item["genres"]))
        table.add_row(str(item["rank"]), *map(_plain, texts), f"{item['predicted_rating']:.2f}")
        if "reason" in item:
            table.add_row("", Text(escaped(_reason(item["reason"])), style="dim"))
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    console.print(table)
    said = _STRATEGIES[found["strategy"]].format(user=user_id) if found["items"] else "no title is left to recommend"
    console.print(_plain(f"model {found['model']}; {said}"), soft_wrap=True)


def _plain(text: str) -> Text:
    return Text(escaped(text))


def _reason(reason: dict[str, Any]) -> str:
    """Return what weighs most of a reason, in a line."""
    parts = [(each["share"], each["title"] or each["content_id"]) for each in reason["because_of"] if each["share"] > 0]
    if met := [each["value"] for each in reason["preferences"]]:
        parts.append((reason["preferences_share"], f"a liking for {', '.join(met)}"))
    parts.sort(reverse=True)
    return "because of " + "; ".join(f"{text} ({share:.0%})" for share, text in parts) if parts else "much watched"
