"""Which engine recommends to everyone: by what the lake's records and the model let expect of memory."""

from pathlib import Path

import pytest
from tests.model.test_lists import MODEL
from tests.train.lakes import deed, put, user

from nextreel.insight.engine import Engine, choose_engine
from nextreel.lake.layout import Lake
from nextreel.settings import ExportSettings


def chosen(lake: Lake, engine: str, megabytes: int) -> Engine:
    settings = ExportSettings.model_validate({"engine": engine, "local_megabytes": megabytes})
    return choose_engine(settings, lake, MODEL)[0]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake of 2,000 users and 10,000 interactions: with two factors a user 2 MB, and 1.2 MB."""
    lake = Lake(tmp_path)
    put(lake, 0, users=[user(n, None) for n in range(2_000)])
    put(lake, 1, interactions=[deed(n % 2_000, n, 4.0) for n in range(10_000)])
    return lake


def test_auto_goes_by_memory_and_the_others_by_what_they_say(lake: Lake) -> None:
    assert [chosen(lake, "auto", most) for most in (1, 3, 4, 1000)] == ["spark", "spark", "local", "local"]
    assert chosen(lake, "local", 1) == "local"
    assert chosen(lake, "spark", 1000) == "spark"


def test_it_says_why(lake: Lake) -> None:
    assert choose_engine(ExportSettings(), lake, MODEL)[1] == (
        "on this machine: 2,000 users, 10,000 interactions, 3 MB by estimate"
    )
    assert choose_engine(ExportSettings(engine="spark"), lake, MODEL)[1].startswith("on Spark: 2,000 users")


def test_of_an_empty_lake_the_model_knows_the_users(tmp_path: Path) -> None:
    assert choose_engine(ExportSettings(), Lake(tmp_path), MODEL) == (
        "local",
        f"on this machine: {len(MODEL.user_ids)} users, 0 interactions, 0 MB by estimate",
    )
