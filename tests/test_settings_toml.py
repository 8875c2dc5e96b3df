"""Settings as a settings file: what is written is read as the same, and secrets are not written."""

import tomllib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.settings import Settings, as_toml, load


def read_again(settings: Settings, folder: Path) -> Settings:
    file = folder / "written.toml"
    file.write_text(as_toml(settings), "utf-8")
    return load({}, {}, file)


def test_defaults_are_not_written() -> None:
    assert as_toml(Settings()).strip() == ""


def test_by_hand() -> None:
    flags = {"home": "here", "train.factors": "32", "train.alpha": "1e-7", "kafka.users": "a.b", "tuning.trials": "9"}
    flags |= {"ratings.weights.genres": "0.5", "ingest.fail_on_data_loss": "false"}
    assert as_toml(load(flags, {})).splitlines() == [
        'home = "here"',
        "",
        "[kafka]",
        'users = "a.b"',
        "",
        "[ingest]",
        "fail_on_data_loss = false",
        "",
        "[ratings.weights]",
        "genres = 0.5",
        "",
        "[train]",
        "factors = 32",
        "alpha = 1e-07",
        "",
        "[tuning]",
        "trials = 9",
    ]


def test_what_must_be_there_is_even_where_it_is_the_default(tmp_path: Path) -> None:
    text = as_toml(load({"train.alpha": "9"}, {}), ["train.damping", "train.alpha", "export.top_k"])
    assert tomllib.loads(text) == {"train": {"alpha": 9.0, "damping": 5.0}, "export": {"top_k": 10}}


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and "\0" not in text
)

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    home=texts.map(lambda text: str(Path(text))),
    alpha=st.floats(min_value=1e-300, allow_infinity=False, allow_nan=False),
    since=st.one_of(st.floats(0.01, 0.99), st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zones)),
    top_k=st.integers(1, 1000),
    simulate=st.sampled_from(["sparse", "never"]),
)
def test_what_is_written_is_read_as_the_same(
    home: str, alpha: float, since: object, top_k: int, simulate: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = Settings.model_validate(
        {
            "home": home,
            "train": {"alpha": alpha},
            "evaluation": {"since": since},
            "export": {"top_k": top_k},
            "ratings": {"simulate": simulate, "weights": {"genres": alpha}},
        }
    )
    assert read_again(settings, tmp_path_factory.getbasetemp()) == settings


def test_secrets_are_not_written(tmp_path: Path) -> None:
    secret = {"kafka.client.sasl.password": "hush", "spark.conf.spark.hadoop.fs.s3a.secret.key": "hush"}
    settings = load(secret | {"kafka.bootstrap": "broker:1", "spark.master": "local[3]"}, {})
    text = as_toml(settings)
    assert "hush" not in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Not here, since it can hold secrets: kafka.client. Set it as before.",
        "# Not here, since it can hold secrets: spark.conf. Set it as before.",
    ]
    assert tomllib.loads(text) == {"kafka": {"bootstrap": "broker:1"}, "spark": {"master": "local[3]"}}
    assert "Not here" not in as_toml(read_again(settings, tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_and_encodings_of_windows_editors_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "nextreel.toml"
    file.write_bytes(f"[train]{end}factors = 17{end}".encode(encoding))
    assert load({}, {}, file).train.factors == 17
