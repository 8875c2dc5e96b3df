"""Files of anybody's on their way to Kafka, through the command line and a real broker."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest, rows

from nextreel.cli.main import main
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake.layout import Lake
from nextreel.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TITLES, VIEWS, MAPPING = (str(EXAMPLES / name) for name in ("titles.csv", "views.csv", "views.toml"))


def run(settings: Settings, *arguments: str) -> Result:
    names = ("bootstrap", "users", "movies", "series", "interactions")
    sets = [part for name in names for part in ("--set", f"kafka.{name}={getattr(settings.kafka, name)}")]
    return CliRunner().invoke(main, [*sets, "--set", f"home={settings.home}", "replay", *arguments])


@pytest.mark.slow
def test_files_arrive_in_the_lake(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.jsonl"
    sent = run(settings, "catalogue", TITLES, "--rejected", str(rejected))
    assert (sent.exit_code, sent.stdout) == (
        0, f"{TITLES}: 4 movies, 2 series of 10 rows; 6 messages delivered\n",
    )  # fmt: skip
    assert "rejected, duplicate id: 1\n  row 7: 's2' is row 2 as well" in sent.stderr
    written = [json.loads(line) for line in rejected.read_text("utf-8").splitlines()]
    assert [each["row"] for each in written] == [6, 7, 8, 9]
    for _ in range(2):  # sent again, an interaction has the id that it had
        assert run(settings, "interactions", VIEWS, "--map", MAPPING).exit_code == 0
    batches = ingest(spark, settings)
    lake = Lake(settings.lake)
    assert sum(batch.rejected for batch in batches) == 0
    assert {row["id"] for row in rows(lake, "movies")} == {"s1", "s4", "s5", "s8"}
    assert {row["titulo"] for row in rows(lake, "series")} == {"Harbour Lights", "Bread, and Other Crimes"}
    found = rows(lake, "interactions")
    assert (len(found), len({row["id"] for row in found})) == (120, 60)


def test_movielens_is_sent_whole(settings: Settings, tmp_path: Path) -> None:
    movies = "movieId,title,genres\n1,Heat (1995),Action|Crime\n2,Up (2009),Comedy\n"
    ratings = "userId,movieId,rating,timestamp\n7,1,4.5,1000000000\n7,2,3,1000000001\n"
    (tmp_path / "movies.csv").write_text(movies, "utf-8")
    (tmp_path / "ratings.csv").write_text(ratings, "utf-8")
    sent = run(settings, "movielens", str(tmp_path))
    assert sent.exit_code == 0, sent.output
    marks = WatermarkReader(settings.kafka.client_config).read(settings.kafka.topics)
    counts = {topic: sum(high for _, high in marks[topic].values()) for topic in settings.kafka.topics}
    assert list(counts.values()) == [1, 2, 0, 2]


def test_check_shows_what_would_be_read_and_sends_nothing(settings: Settings, tmp_path: Path) -> None:
    fresh = tmp_path / "mapping.toml"
    told = run(settings, "check", "catalogue", TITLES, "--write", str(fresh))
    assert told.exit_code == 0
    for part in ("show_id", "100.0 %", "would be sent: 4 movies, 2 series, of 10 rows", "row 4 '74 min'", "date_added"):
        assert part in told.output
    assert run(settings, "check", "catalogue", TITLES, "--map", str(fresh)).exit_code == 0
    again = run(settings, "check", "catalogue", TITLES, "--write", str(fresh))
    assert (again.exit_code, "is there already" in again.output) == (2, True)


def test_a_file_that_is_there_is_not_written_over(settings: Settings, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(Path(TITLES).read_text("utf-8"), "utf-8")
    for option in (["catalogue", str(mine), "--rejected"], ["check", "catalogue", str(mine), "--write"]):
        told = run(settings, *option, str(mine))
        assert (told.exit_code, "is there already" in told.output) == (2, True)
    assert mine.read_text("utf-8") == Path(TITLES).read_text("utf-8")


def test_what_failed_before_anything_was_sent_leaves_no_file(settings: Settings, tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.jsonl"
    nowhere = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})})
    assert run(nowhere, "catalogue", TITLES, "--rejected", str(rejected)).exit_code == 1
    assert not rejected.exists()


def test_a_file_that_nothing_is_sent_of_is_an_error(settings: Settings, tmp_path: Path) -> None:
    titles = tmp_path / "titles.csv"
    titles.write_text("id,type,title\nm1,concert,A\n")
    told = run(settings, "catalogue", str(titles))
    assert told.exit_code == 1
    assert "nothing of 1 rows; 0 messages delivered" in told.stdout
    assert "rejected, unknown type: 1" in told.stderr


def test_check_as_json(settings: Settings) -> None:
    told = json.loads(run(settings, "check", "interactions", VIEWS, "--map", MAPPING, "--json").stdout)
    assert (told["rows"], told["events"], len(told["refused"])) == (64, {"interaction": 60}, 4)
    assert told["filled"]["calificacion"] == 13
    assert told["mapping"]["scale"] == [1.0, 10.0]


def test_what_cannot_be_guessed_is_said(settings: Settings) -> None:
    told = run(settings, "check", "interactions", VIEWS)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "no column looks like id_usuario; there are 'profile', 'title'" in told.stderr


def test_text_for_terminals_has_no_escapes(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "evil.csv"
    path.write_text("id,title\n1,\x1b[2J\u202eevil\n,\x1b[31m\n", "utf-8")
    told = run(settings, "check", "catalogue", str(path))
    assert told.exit_code == 0
    assert "\x1b" not in told.output
    assert "\u202e" not in told.output


HEADER = "userId,movieId,rating,timestamp\n"


def test_guesses_are_said_before_anything_is_sent(settings: Settings, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text(HEADER + "".join(f"1,{n},{n},2024-02-11\n" for n in range(1, 11)), "utf-8")
    sent = run(settings, "interactions", str(ratings))
    assert sent.exit_code == 0, sent.output
    assert "10 interactions of 10 rows; 10 messages delivered" in sent.stdout
    assert "guessed: calificacion: ratings from 1 to 10 are on a scale from 1 to 10" in sent.stderr


def test_ratings_on_an_unknown_scale_are_not_sent(settings: Settings, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text(HEADER + "1,1,3,2024-02-11\n1,2,70,2024-02-11\n", "utf-8")
    nowhere = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})})
    told = run(nowhere, "interactions", str(ratings))  # which would be a connection refused, were it tried
    assert (told.exit_code, told.stdout) == (2, "")
    assert "Nothing was sent. Say their scale in the mapping: `scale = [0, 100]`" in told.stderr


def test_interactions_of_titles_that_the_catalogue_lacks_are_counted(settings: Settings, tmp_path: Path) -> None:
    titles, views = tmp_path / "titles.csv", tmp_path / "views.csv"
    titles.write_text("id,title\nm1,A\nm2,B\n", "utf-8")
    views.write_text(HEADER + "u,1,3,2024-02-11\nu,2,3,2024-02-11\nu,m1,3,2024-02-11\n", "utf-8")
    told = run(settings, "check", "interactions", str(views), "--catalogue", str(titles))
    assert "titles that the catalogue does not have: 2 of 3, as '1', '2'" in told.output
    assert "ids are written as 'm1', 'm2'" in told.output
    counts = json.loads(run(settings, "check", "interactions", str(views), "--catalogue", str(titles), "--json").stdout)
    assert (counts["undescribed_interactions"], counts["undescribed_titles"]) == (2, {"1": 1, "2": 1})
    assert (
        json.loads(run(settings, "check", "interactions", str(views), "--json").stdout)["undescribed_interactions"]
        is None
    )


@pytest.mark.slow
def test_titles_of_the_lake_are_those_that_are_described(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    views = tmp_path / "views.csv"
    views.write_text(HEADER + "u,s1,3,2024-02-11\nu,s99,3,2024-02-11\n", "utf-8")
    assert run(settings, "catalogue", TITLES).exit_code == 0
    ingest(spark, settings)
    sent = run(settings, "interactions", str(views))
    assert "titles that the catalogue does not have: 1 of 2, as 's99'" in sent.stderr


def test_check_as_json_keeps_some_refused_rows_and_counts_all(settings: Settings, tmp_path: Path) -> None:
    titles = tmp_path / "titles.csv"
    titles.write_text("id,type\nm,movie\n" + "".join(f"m{n},concert\n" for n in range(3_000)), "utf-8")
    told = json.loads(run(settings, "check", "catalogue", str(titles), "--json").stdout)
    assert (told["refused_rows"], len(told["refused"])) == ({"unknown type": 3_000}, 1_000)
    rejected = tmp_path / "rejected.jsonl"
    assert run(settings, "catalogue", str(titles), "--rejected", str(rejected)).exit_code == 0
    assert len(rejected.read_text("utf-8").splitlines()) == 3_000


def test_a_mapping_with_a_byte_order_mark_is_read(settings: Settings, tmp_path: Path) -> None:
    marked = tmp_path / "mapping.toml"
    marked.write_text(Path(MAPPING).read_text("utf-8"), "utf-8-sig")
    told = run(settings, "check", "interactions", VIEWS, "--map", str(marked))
    assert (told.exit_code, "60 interactions, of 64 rows" in told.output) == (0, True)


def test_a_mapping_that_check_writes_reads_the_same(settings: Settings, tmp_path: Path) -> None:
    ratings, fresh = tmp_path / "ratings.csv", tmp_path / "mapping.toml"
    ratings.write_text("userId;movieId;rating;progress;date\n1;2.0;9,5;0,5;25/12/2024\n", "utf-8")
    told = json.loads(run(settings, "check", "interactions", str(ratings), "--write", str(fresh), "--json").stdout)
    again = json.loads(run(settings, "check", "interactions", str(ratings), "--map", str(fresh), "--json").stdout)
    assert told["mapping"] | {"separators": {}} == again["mapping"] | {"separators": {}}
    assert (len(told["notes"]) > 4, again["notes"]) == (True, [])
    assert told["mapping"]["scale"] == [1.0, 10.0]
