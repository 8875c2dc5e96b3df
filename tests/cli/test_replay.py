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
