"""Everyone's recommendations on Spark: those of this machine, for everybody as they are now."""

from functools import partial
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pyspark.errors import PythonException
from pyspark.sql import SparkSession
from tests.train.lakes import GENRES, N_TITLES, N_USERS, after, before, put, title, user

from nextreel.cli import main
from nextreel.insight.export import ABOUT, FILE_NAME, PARQUET, write_parts, write_recommendations
from nextreel.lake.layout import Lake
from nextreel.model.lists import SCHEMA, recommendations
from nextreel.model.model import Model
from nextreel.model.store import ModelStore
from nextreel.settings import ExportSettings, RatingsSettings, TrainSettings
from nextreel.train import everyone
from nextreel.train.dataset import Profiles
from nextreel.train.everyone import write_everyone
from nextreel.train.fit import fit_model
from nextreel.train.job import Found, read_lake
from nextreel.train.local import local_engine
from nextreel.train.now import up_to_date

WANTED = ExportSettings(top_k=5)
DIVERSE = ExportSettings(top_k=5, diversity=0.3)
NEVER = RatingsSettings(simulate="never")
SIMULATED = RatingsSettings(simulate="sparse", min_observed=9)


def profiles(found: Found) -> Profiles:
    return Profiles.of(found.data, found.users, found.titles)


def trained(spark: SparkSession, lake: Lake, settings: RatingsSettings) -> Model:
    found = read_lake(spark, lake, settings)
    return fit_model(found.data, TrainSettings(factors=6, iterations=3), local_engine(), profiles=profiles(found))


def here(
    spark: SparkSession,
    lake: Lake,
    model: Model,
    settings: RatingsSettings,
    folder: Path,
    wanted: ExportSettings = WANTED,
) -> pa.Table:
    found = read_lake(spark, lake, settings)
    now = up_to_date(model, found.data, profiles(found))
    tables = recommendations(now, found.data.pairs(), found.users, found.titles, wanted.top_k, wanted.diversity)
    write_recommendations(tables, folder, "1")
    return pq.read_table(folder / PARQUET)


def there(
    spark: SparkSession,
    lake: Lake,
    model: Model,
    settings: RatingsSettings,
    folder: Path,
    wanted: ExportSettings = WANTED,
) -> pa.Table:
    write_parts(partial(write_everyone, spark, lake, model, wanted, settings), folder, "1")
    return pq.read_table(folder / PARQUET).cast(SCHEMA)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.mark.parametrize(
    ("settings", "rated", "done", "wanted"),
    [
        (NEVER, 0.3, 0.1, WANTED),
        (SIMULATED, 0.3, 0.1, DIVERSE),
        (NEVER, 0.0, 0.4, WANTED),
        (SIMULATED, 0.0, 0.0, WANTED),
    ],
    ids=["ratings and deeds", "simulated ones too", "deeds alone", "simulated ones alone"],
)
def test_both_engines_give_the_same(
    spark: SparkSession,
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: RatingsSettings,
    rated: float,
    done: float,
    wanted: ExportSettings,
) -> None:
    before(lake, rated, done)
    model = trained(spark, lake, settings)
    if rated or done:
        after(lake)
    monkeypatch.setattr(everyone, "_TASK_USERS", 8)
    monkeypatch.setattr(everyone, "_SOLVED_USERS", 3)
    local, on_spark = (by(spark, lake, model, settings, tmp_path / by.__name__, wanted) for by in (here, there))
    assert local.num_rows > N_USERS
    assert on_spark.equals(local)
    text = [(tmp_path / by.__name__ / FILE_NAME).read_bytes() for by in (here, there)]
    assert text[0] == text[1]
    parts = sorted((tmp_path / "there" / PARQUET).iterdir())
    assert len(parts) > 2
    assert {part.suffix for part in parts} == {".parquet"}


def test_everybody_is_in_it_as_they_are_now(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    before(lake)
    model = trained(spark, lake, NEVER)
    after(lake)
    told: list[tuple[int, int]] = []
    write_everyone(spark, lake, model, WANTED, NEVER, tmp_path / "parts", lambda *n: told.append(n))
    rows = pq.read_table(tmp_path / "parts").to_pylist()
    assert [(r["user_id"], r["rank"]) for r in rows] == sorted((r["user_id"], r["rank"]) for r in rows)
    lists = {who: [r["content_id"] for r in own] for who, own in groupby(rows, lambda r: r["user_id"])}
    names = {r["user_id"]: r["username"] for r in rows}
    assert lists.keys() == {f"u{n:02}" for n in [*range(N_USERS), 60, 61, 62]}
    assert (names["u00"], names["u03"], names["u62"]) == ("=User 0", 'Bo, the "3rd"', None)
    assert "t50" in {t for own in lists.values() for t in own}, "a new title"
    assert not {"t06", "t09"} & set(lists["u00"]), "seen since"
    assert not {"t04", "t51"} & set(lists["u62"])
    kind = {f"t{n:02}": GENRES[n % 3] for n in range(N_TITLES)} | {"t50": "War", "t51": "Comedy"}
    assert [kind[t] for t in lists["u60"]].count("War") > 2
    assert lists["u61"] == lists["u61"][: WANTED.top_k]
    assert all(done <= total == N_USERS + 3 for done, total in told)


def test_without_users_or_titles_there_are_no_rows(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    before(lake)
    model = trained(spark, lake, NEVER)
    for number, events in enumerate(({}, {"users": [user(1, None)]}, {"movies": [title(1, None)]})):
        other = Lake(tmp_path / f"lake{number}")
        put(other, 0, **events)
        found = [by(spark, other, model, NEVER, tmp_path / f"{number}{by.__name__}") for by in (here, there)]
        assert [table.num_rows for table in found] == [0, 0]
        assert [len(path.read_text().splitlines()) for path in sorted(tmp_path.glob(f"{number}*/*.csv"))] == [1, 1]


def test_where_a_task_fails_the_old_files_stay(
    spark: SparkSession, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before(lake)
    model = trained(spark, lake, NEVER)
    old = there(spark, lake, model, NEVER, tmp_path / "exports")

    monkeypatch.setattr(everyone, "taken_apart", lambda _: {})
    with pytest.raises(PythonException, match="KeyError"):
        there(spark, lake, model, NEVER, tmp_path / "exports")
    assert pq.read_table(tmp_path / "exports" / PARQUET).cast(SCHEMA).equals(old)
    assert sorted(p.name for p in (tmp_path / "exports").iterdir()) == [".lock", *sorted([ABOUT, FILE_NAME, PARQUET])]


@pytest.mark.slow
@pytest.mark.usefixtures("kept_spark")
def test_the_command_goes_by_the_settings(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    before(lake)
    model = trained(spark, lake, RatingsSettings())
    store = ModelStore(tmp_path / "models")
    store.promote(store.save(model, {}))
    after(lake)
    there(spark, lake, model, RatingsSettings(), tmp_path / "expected")
    environment = {"NEXTREEL_HOME": str(tmp_path), "NEXTREEL_EXPORT_TOP_K": str(WANTED.top_k)}
    found = CliRunner().invoke(main, ["--set", "export.engine=spark", "export"], env=environment)
    exports = tmp_path / "exports"
    assert (found.exit_code, found.stdout) == (0, f"{exports / FILE_NAME}\n{exports / 'star'}\n"), found.output
    assert (exports / PARQUET).is_dir()
    assert (exports / FILE_NAME).read_bytes() == (tmp_path / "expected" / FILE_NAME).read_bytes()
