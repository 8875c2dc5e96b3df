"""What a demonstration came to, for a person to read and for a program."""

from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nextreel.lake.layout import QUARANTINE
from nextreel.model.recommend import most_alike
from nextreel.train.evaluate import Evaluation, K

if TYPE_CHECKING:
    from nextreel.demo import Outcome  # `train` prints quality, too, and does not wait for a server's modules

_SHOWN_USERS, _SHOWN_TITLES = 3, 5
_BASELINES = {"als": "nextreel", "bias": "bias", "mean": "mean"}


def show(console: Console, outcome: "Outcome", quarantined: dict[str, int]) -> None:
    """Print a round: what came in, what was learned, how good it is, and a few users' recommendations."""
    training = outcome.training
    console.print()
    console.print(_ingested(outcome, quarantined))
    console.print(quality(training.evaluation))
    if not training.verdict.promoted:
        console.print(f"[bold yellow]{training.version} did not become current[/]: {escape(training.verdict.why)}")
        console.print()
    for user in _interesting_users(outcome):
        console.print(_list_of(outcome, user))
        console.print()
    users = pc.count_distinct(outcome.recommendations["user_id"]).as_py()
    console.print(
        f"[bold]{outcome.recommendations.num_rows:,} recommendations for {users:,} users[/] in {outcome.csv}",
        soft_wrap=True,
    )
    console.print(f"[dim]{_times(outcome.seconds)}[/]")


def as_dict(outcome: "Outcome", quarantined: dict[str, int]) -> dict[str, Any]:
    """Return the same as plain data."""
    training = outcome.training
    return {
        "sent": outcome.sent.sent,
        "rows": dict(outcome.ingested.rows),
        "quarantined": quarantined,
        "unknown_fields": outcome.ingested.unknown_fields,
        "model": training.version,
        "promotion": asdict(training.verdict),
        "ratings": len(training.data),
        "simulated": int(np.count_nonzero(training.data.simulated)),
        "evaluation": training.evaluation.as_dict(),
        "recommendations": outcome.recommendations.num_rows,
        "csv": str(outcome.csv),
        "seconds": {k: round(v, 3) for k, v in outcome.seconds.items()},
    }


def _ingested(outcome: "Outcome", quarantined: dict[str, int]) -> Table:
    table = Table(title="[bold]What came in[/]", title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("messages", justify="right")
    table.add_column("", style="dim", overflow="fold")
    for name, rows in sorted(outcome.ingested.rows.items(), key=lambda item: -item[1]):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in quarantined.items())
        table.add_row(name, f"{rows:,}", reasons if name == QUARANTINE else "")
    total = sum(outcome.ingested.rows.values())
    megabytes, kept = outcome.sent.bytes / 1e6, outcome.ingested.bytes / 1e6
    smaller = f"{megabytes:.1f} MB of JSON, {kept:.1f} MB of Parquet: {1 - kept / megabytes:.0%} smaller"
    table.add_row("[bold]all[/]", f"[bold]{total:,}[/]", f"of {outcome.sent.sent:,} sent; {smaller}")
    return table


def quality(evaluation: Evaluation) -> Table:
    """Return how good a model is, beside its baselines, as a table for people."""
    what = "simulated ratings" if evaluation.simulated else "ratings"
    table = Table(title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    table.title = f"[bold]How good it is[/], on {evaluation.n_test:,} held-out {what}"
    for name in ("", "RMSE", "MAE", "", f"nDCG@{K}", f"recall@{K}", "coverage"):
        table.add_column(name, justify="right" if name else "left")
    accuracy = [(_BASELINES[n], f"{a.rmse:.3f}", f"{a.mae:.3f}") for n, a in evaluation.accuracy.items()]
    ranking = [
        ("nextreel" if n == "als" else n, f"{r.ndcg:.3f}", f"{r.recall:.3f}", f"{r.coverage:.1%}")
        for n, r in evaluation.ranking.items()
    ]
    for left, right in zip_longest(accuracy, ranking, fillvalue=("",) * 3):
        table.add_row(*left, *right, style="bold" if left[0] == "nextreel" else None)
    return table


def _interesting_users(outcome: "Outcome") -> list[int]:
    """Return a few users (rows): those whose number of ratings is about the median, so that lists are typical."""
    data = outcome.training.data
    counts = np.bincount(data.user[~data.simulated], minlength=data.n_users)
    rated = np.flatnonzero(counts)
    if len(rated) == 0:
        return list(range(min(_SHOWN_USERS, data.n_users)))
    by_count = rated[np.argsort(counts[rated], kind="stable")]
    middle = max(0, len(by_count) // 2 - _SHOWN_USERS // 2)
    return [int(u) for u in by_count[middle : middle + _SHOWN_USERS]]


def _list_of(outcome: "Outcome", user: int) -> Table:
    training = outcome.training
    user_id = training.model.user_ids[user].as_py()
    profile = training.users.filter(pc.equal(training.users["user_id"], user_id)).to_pylist()
    likes = profile[0]["genres"] or [] if profile else []
    name = (profile[0]["username"] if profile else None) or user_id
    title = f"[bold]For {escape(name)}[/] ({escape(user_id)})"
    title += f", who likes {escape(', '.join(likes))}" if likes else ""
    table = Table(title=title, title_justify="left", title_style="", box=None, show_header=False)
    table.add_column(justify="right", style="dim", min_width=2)
    table.add_column(no_wrap=True, max_width=36)
    table.add_column(no_wrap=True, min_width=5)
    table.add_column(overflow="fold", style="dim", max_width=50)
    rows = outcome.recommendations.filter(pc.equal(outcome.recommendations["user_id"], user_id))
    for row in rows.slice(0, _SHOWN_TITLES).to_pylist():
        shared = [g for g in row["genres"] or [] if g in likes]
        reason = _because(outcome, user, row["content_id"], shared)
        table.add_row(
            str(row["rank"]), escape(row["title"] or row["content_id"]), f"{row['predicted_rating']:.1f} ★", reason
        )
    return table


def _because(outcome: "Outcome", user: int, content_id: str, shared: list[str]) -> str:
    """Return why: of the titles that the user rated well, the one most like it; else the genres they share."""
    data, model = outcome.training.data, outcome.training.model
    own = data.user == user
    liked = data.title[own & ~data.simulated & (data.rating >= data.rating[own].mean())]
    if len(liked):
        title = model.title_ids.index(pa.scalar(content_id)).as_py()
        nearest = most_alike(model, title, liked.astype(np.int64))
        stars = data.rating[own & (data.title == nearest)][0]
        known = outcome.training.titles
        named = known.filter(pc.equal(known["content_id"], model.title_ids[nearest]))["title"].to_pylist()
        return escape(f"like {(named or [None])[0] or model.title_ids[nearest]} ({stars:.1f})")
    return escape(f"they like {', '.join(shared)}") if shared else "popular"


def _times(seconds: dict[str, float]) -> str:
    return f"{sum(seconds.values()):.1f} s: " + ", ".join(f"{name} {s:.1f}" for name, s in seconds.items())
