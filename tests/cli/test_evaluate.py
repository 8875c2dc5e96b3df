"""``nextreel evaluate``: from a lake to figures, and no model stored."""

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from rich.console import Console

from nextreel.cli import main
from nextreel.cli.evaluate import show
from nextreel.events.contract import EVENT_TYPES, TABLES
from nextreel.events.world import World, WorldConfig
from nextreel.lake.commit import commit
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import StagedFile, stage
from nextreel.settings import EvaluationSettings, Settings, TrainSettings
from nextreel.train.dataset import dataset
from nextreel.train.evaluate import Evaluation, evaluate
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine
from nextreel.train.splits import hold_out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--k", "0"], "0 is not in the range"),
        (["--split", "yearly"], "'yearly' is not one of 'random', 'last', 'time'"),
        (["--split", "time", "--last-k", "3"], "--last-k goes with --split last, not time"),
        (["--since", "0.5"], "--since goes with --split time, not random"),
        (["--split", "time", "--since", "yesterday"], "evaluation.since = 'yesterday'"),
        (["--split", "time", "--since", "1.5"], "it must be a share between 0 and 1, or a date or time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_anything_starts(arguments: list[str], message: str) -> None:
    found = CliRunner().invoke(main, ["evaluate", *arguments])
    assert (found.exit_code, message in found.output) == (2, True), found.output


def small() -> Evaluation:
    """Two audiences, each with its own half of the titles."""
    rng = np.random.default_rng(1)
    rows = [
        (f"u{user}", f"t{title:02}", float(rng.integers(8, 11) / 2))
        for user in range(40)
        for title in range(30)
        if (user + title) % 2 and rng.random() < 0.2 + user / 60
    ]
    columns = dict(zip(("user_id", "content_id", "rating"), map(list, zip(*rows, strict=True)), strict=True))
    settings = Settings(
        train=TrainSettings(factors=4, iterations=4), evaluation=EvaluationSettings(split="random", resamples=100)
    )
    parts = hold_out(dataset(pa.table(columns | {"source": ["observed"] * len(rows)})), settings)
    return evaluate(fit_model(parts.train, settings.train, local_engine()), parts, settings, k=5)


def test_the_table_has_every_figure() -> None:
    evaluation = small()
    console = Console(width=100, record=True, file=StringIO())
    show(console, evaluation)
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "…" not in text, "nothing is cut"
    for name in ("nDCG@5", "recall@5", "precision@5", "MAP@5", "MRR@5", "coverage", "novelty", "RMSE", "MAE"):
        assert f"\n {name}" in text or f"\n{name}" in text, name
    for who in ("nextreel", "popularity", "bias", "random", "mean"):
        assert who in text
    for segment, quality in evaluation.segments.items():
        assert segment in text
        assert f"{quality.n_users:,} users" in text
    ndcg, (low, high) = evaluation.ranking["als"].ndcg, evaluation.intervals["ranking"]["als"]["ndcg"]
    assert f"{ndcg:.3f} {low:.3f}-{high:.3f}" in text
    assert "a random 20%" in text


def staged(lake: Lake, world: World) -> Iterator[StagedFile]:
    """The world's tables, as if ingest had brought them."""
    counts = {"user": 150, "movie": 60, "series": 30, "interaction": 6000}
    for event_type in EVENT_TYPES:
        table = TABLES[event_type]
        events = pa.Table.from_batches([world.events(event_type, 0, counts[event_type])])
        n, schema = events.num_rows, SCHEMAS[table]
        places = {"kafka_topic": pa.array(["t"] * n), "kafka_partition": np.zeros(n), "kafka_offset": np.arange(n)}
        for field in schema:
            if field.name not in events.column_names:
                values = places.get(field.name, events["timestamp"])
                events = events.append_column(field, pa.chunked_array([values]).cast(field.type))
        yield stage(lake, table, "2026-01-31", events.select(schema.names))


@pytest.mark.slow
@pytest.mark.usefixtures("kept_spark")
def test_from_a_lake_to_figures(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    world = World(WorldConfig(n_users=150, n_movies=60, n_series=30, n_interactions=6000))
    commit(
        lake, "query", 0, list(staged(lake, world)), {"t": {"0": 6240}}, Intake({"t": {"0": 0}}, {"t": {"0": 6240}}, 9)
    )
    arguments = ["evaluate", "--split", "last", "--last-k", "3", "--json"]
    found = CliRunner().invoke(main, arguments, env={"NEXTREEL_HOME": str(tmp_path)})
    assert found.exit_code == 0, found.output
    read = json.loads(found.stdout)
    assert read["engine"] == "local"
    assert read["protocol"] == {"split": "last", "last_k": 3, "relevant_rating": 4.0, "k": 10}
    assert not read["simulated"]
    assert read["n_test"] > 100
    assert read["n_test"] % 3 == 0
    assert read["accuracy"]["als"]["rmse"] < read["accuracy"]["mean"]["rmse"]
    assert sum(segment["n_users"] for segment in read["segments"].values()) == read["n_test"] / 3
    plain = CliRunner().invoke(main, ["evaluate"], env={"NEXTREEL_HOME": str(tmp_path), "NEXTREEL_TRAIN_FACTORS": "8"})
    assert plain.exit_code == 0, plain.output
    assert "held-out ratings: a random 20%" in " ".join(plain.stdout.split())
    assert "nDCG@10" in plain.stdout
    assert not (tmp_path / "models").exists()
