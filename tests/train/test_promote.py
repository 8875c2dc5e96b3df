"""Which versions become current: judged by known figures, and by trainings on real and on shuffled ratings."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from nextreel.cli import main
from nextreel.events.world import World, WorldConfig
from nextreel.lake.commit import commit
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import StagedFile, stage
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, VersionsSettings, load
from nextreel.train.job import train
from nextreel.train.promote import Figures, judge

SETTINGS = VersionsSettings(tolerance=0.1, rmse_tolerance=0.01, min_users=10)


def facts(
    ndcg: float | None = 0.26,
    popularity: float | None = 0.13,
    rmse: float | None = 0.87,
    bias: float | None = 0.88,
    n_users: int = 1000,
    simulated: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """A model.json: unless other figures are given, that of a good model."""
    return {
        "version": "20260301T120000-000",
        "parameters": {"factors": 16},
        "evaluation": {
            "accuracy": {"als": {"rmse": rmse}, "bias": {"rmse": bias}},
            "ranking": {"als": {"ndcg": ndcg}, "popularity": {"ndcg": popularity}},
            "n_users_ranked": n_users,
            "simulated": simulated,
            "protocol": {"split": "random", "test_fraction": 0.2},
        },
    } | others


GOOD = facts()
FEW, SIMULATED, NOTHING = facts(n_users=9), facts(simulated=True), facts(None, None, None, None, 0)


def promoted(candidate: dict[str, Any], current: dict[str, Any] | None = None) -> str:
    verdict = judge(candidate, current, SETTINGS)
    assert verdict.promoted, verdict.why
    return verdict.why


def refused(candidate: dict[str, Any], current: dict[str, Any] | None = None) -> str:
    verdict = judge(candidate, current, SETTINGS)
    assert not verdict.promoted, verdict.why
    assert "\n" not in verdict.why
    return verdict.why


@pytest.mark.parametrize("current", [None, GOOD, FEW, SIMULATED, NOTHING])
def test_what_beats_its_baselines_and_is_as_good_as_the_current_is_promoted(current: dict[str, Any] | None) -> None:
    assert promoted(GOOD, current).startswith("nDCG@10 0.260, popularity's 0.130")


@pytest.mark.parametrize("current", [None, GOOD, SIMULATED])
@pytest.mark.parametrize("ndcg", [0.0, 0.129, 0.13])
def test_what_ranks_no_better_than_popularity_is_refused(ndcg: float, current: dict[str, Any] | None) -> None:
    assert f"nDCG@10 {ndcg:.3f} is not above popularity's, 0.130" in refused(facts(ndcg), current)


def test_what_predicts_worse_than_biases_is_refused() -> None:
    assert refused(facts(rmse=0.9)) == "RMSE 0.900 is more than 1 % above that of biases, 0.880"
    promoted(facts(rmse=0.888))
    promoted(facts(rmse=None, bias=None))


def test_all_that_does_not_hold_is_told() -> None:
    why = refused(facts(0.1, rmse=1.0), GOOD)
    assert [part.split()[0] for part in why.split("; ")] == ["nDCG@10", "RMSE", "nDCG@10"]


def test_what_falls_behind_the_current_in_both_ways_is_refused() -> None:
    assert refused(facts(0.22), GOOD) == (
        "nDCG@10 0.220 is below that of 20260301T120000-000, which is current, 0.260, by more than 10 % and more than "
        "chance, and it is 1.69 times popularity's, not 2.00"
    )
    promoted(facts(0.235), GOOD)


def test_a_harder_catalogue_and_a_lucky_popularity_are_no_fault_of_the_model() -> None:
    promoted(facts(0.13, 0.065), GOOD)
    promoted(facts(0.26, 0.2), GOOD)
    assert "times popularity's" in refused(facts(0.13, 0.08), GOOD)


@pytest.mark.parametrize(("n_users", "difference"), [(100, 0.0566), (300, 0.0327), (1000, 0.026), (10_000, 0.026)])
def test_a_difference_that_chance_makes_is_none(n_users: int, difference: float) -> None:
    """Two standard errors of a difference are 0.4 √(2 / n), a tenth of the current nDCG is 0.026."""
    old = facts(n_users=n_users)
    assert judge(facts(0.26 - difference + 0.0002, n_users=n_users), old, SETTINGS).promoted
    assert not judge(facts(0.26 - difference - 0.0002, n_users=n_users), old, SETTINGS).promoted


def test_the_tolerance_is_a_setting() -> None:
    strict, lax = (SETTINGS.model_copy(update={"tolerance": t}) for t in (0.0, 0.5))
    many = facts(n_users=1_000_000)
    assert not judge(facts(0.255, n_users=1_000_000), many, strict).promoted
    assert judge(facts(0.135, n_users=1_000_000), many, lax).promoted


@pytest.mark.parametrize("untold", [FEW, SIMULATED, NOTHING])
def test_where_nothing_was_measured_there_is_a_first_model_but_none_in_place_of_a_measured_one(
    untold: dict[str, Any],
) -> None:
    bad = untold | {"evaluation": untold["evaluation"] | {"accuracy": {"als": {"rmse": 2.0}, "bias": {"rmse": 1.0}}}}
    assert "no other was current" in promoted(bad)
    for other in (FEW, NOTHING):
        promoted(bad, other)
    assert "which is current, was judged by what people rated" in refused(untold, GOOD)


def test_what_was_held_out_is_named() -> None:
    assert promoted(FEW) == (
        "only 9 users had held-out ratings to find, of 10 that a judgement takes; no other was current"
    )
    assert refused(SIMULATED, GOOD).startswith("only simulated ratings were held out, and 20260301T120000-000")


def test_simulated_ratings_are_compared_with_simulated_ones_alone() -> None:
    assert "nDCG@10 0.100 is below" in refused(facts(0.1, simulated=True), SIMULATED)
    promoted(facts(0.25, simulated=True), SIMULATED)
    promoted(facts(0.14), SIMULATED)


@pytest.mark.parametrize("protocol", [{"split": "random", "test_fraction": 0.1}, {"split": "time"}, None])
def test_what_was_judged_in_another_way_is_not_compared(protocol: dict[str, Any] | None) -> None:
    other = GOOD | {"evaluation": GOOD["evaluation"] | {"protocol": protocol}}
    assert "was judged in another way" in promoted(facts(0.14), other)
    assert "is below that of" in refused(facts(0.14), GOOD | {"parameters": {"factors": 64}})


@pytest.mark.parametrize("unknown", [{}, {"evaluation": None}, {"evaluation": {"ranking": {"als": {}}}}])
def test_a_model_json_without_figures_measures_nothing(unknown: dict[str, Any]) -> None:
    assert Figures.of(unknown).evidence(1) == "none"
    promoted(GOOD, unknown)
    promoted(unknown)


def test_popularity_that_finds_nothing() -> None:
    promoted(facts(0.1, 0.0), GOOD)
    refused(facts(0.0, 0.0))
    refused(facts(0.05, 0.04), facts(0.26, 0.0))


UNDESCRIBED = {"interactions": 1120, "of_titles": 1120, "titles": 112, "by_users": 0, "users": 0}


@pytest.mark.parametrize("current", [None, GOOD, NOTHING])
def test_what_has_learned_of_no_title_that_can_be_recommended_is_refused(current: dict[str, Any] | None) -> None:
    why = refused(facts(data={"undescribed": UNDESCRIBED, "simulated": 0}), current)
    assert why == (
        "none of 1,120 interactions are of titles that a movie or series event describes; 1,120 are of 112 other "
        "titles, which cannot be recommended: do the ids of interactions and catalogue match?"
    )
    promoted(facts(data={"undescribed": UNDESCRIBED | {"of_titles": 1119}, "simulated": 0}), current)
    promoted(facts(data={"undescribed": UNDESCRIBED, "simulated": 40}), current)
    promoted(facts(data={"undescribed": "?"}), current)


def interactions(n: int) -> pa.Table:
    """The ``rate`` events of a synthetic world."""
    world = World(WorldConfig(n_users=800, n_movies=300, n_series=150, n_interactions=n))
    said = pa.Table.from_batches([world.events("interaction", 0, n)])
    return said.filter(pc.equal(said["evento"], "rate"))


def shuffled(rates: pa.Table) -> pa.Table:
    """The same users, titles and stars as often as before, but who rated what, and how, is chance."""
    rng = np.random.default_rng(1)
    for name in ("id_contenido", "calificacion"):
        drawn = rates[name].take(rng.permutation(rates.num_rows))
        rates = rates.set_column(rates.column_names.index(name), name, drawn)
    return rates


def fill(lake: Lake, rates: pa.Table) -> None:
    """Commit interactions, and movies of their titles, as a lake's only micro-batch."""
    titles = pc.unique(rates["id_contenido"])
    movies = pa.table({"id": titles, "titulo": titles, "type": pa.repeat("movie", len(titles))})
    files = [staged(lake, "movies", movies), staged(lake, "interactions", rates)]
    commit(lake, "query", 0, files, {"t": {"0": rates.num_rows}}, Intake())


def staged(lake: Lake, table: str, rates: pa.Table) -> StagedFile:
    """Write rows with what Kafka adds to them."""
    now, schema = datetime.now(UTC), SCHEMAS[table]
    lineage = {"kafka_topic": "t", "kafka_partition": 0, "kafka_timestamp": now, "ingested_at": now}
    columns = []
    for field in schema:
        if field.name in rates.column_names:
            columns.append(rates[field.name].cast(field.type))
        elif field.name == "kafka_offset":
            columns.append(pa.array(range(rates.num_rows), field.type))
        else:
            columns.append(pa.repeat(pa.scalar(lineage.get(field.name), field.type), rates.num_rows))
    return stage(lake, table, now.date().isoformat(), pa.Table.from_arrays(columns, schema=schema))


@pytest.fixture(scope="module")
def rates() -> pa.Table:
    return interactions(100_000)


@pytest.fixture
def home(tmp_path: Path, rates: pa.Table) -> Settings:
    """Settings of a home whose lake has good ratings."""
    given = load({"home": str(tmp_path)}, {})
    fill(Lake(given.lake), rates)
    return given


@pytest.mark.slow
def test_a_training_on_shuffled_ratings_is_refused(spark: SparkSession, home: Settings, rates: pa.Table) -> None:
    good, again = train(spark, home), train(spark, home)
    store = ModelStore(home.models)
    assert good.verdict.promoted
    assert again.verdict.promoted
    home.lake.rename(home.home / "good")
    fill(Lake(home.lake), shuffled(rates))
    bad = train(spark, home)
    assert "is not above popularity's" in bad.verdict.why
    assert f"is below that of {again.version}, which is current" in bad.verdict.why
    assert store.versions() == [good.version, again.version, bad.version]
    assert (store.current(), store.previous()) == (again.version, good.version)
    assert store.decisions()[-1].deed == "refused"
    store.promote(bad.version)
    assert store.current() == bad.version


@pytest.mark.slow
@pytest.mark.usefixtures("kept_spark")
def test_the_command_tells_a_refusal_by_its_exit_code(tmp_path: Path, rates: pa.Table) -> None:
    given = load({"home": str(tmp_path)}, {})
    fill(Lake(given.lake), shuffled(rates))
    done = CliRunner().invoke(main, ["--set", f"home={tmp_path}", "train", "--json"])
    assert done.exit_code == 3, done.output
    found = json.loads(done.stdout)
    assert found["promotion"]["promoted"] is False
    assert f"{found['version']} is stored, but did not become current: nDCG@10" in done.stderr
    assert ModelStore(given.models).current() is None
