"""A server of a small model, over a real broker."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from tests.serve.living import live
from tests.waiting import until

from nextreel.app import create_app
from nextreel.kafka.topics import create_topics
from nextreel.model.store import ModelStore
from nextreel.serve.live import Live
from nextreel.settings import Settings


@pytest.fixture(scope="session")
def trained() -> Live:
    """The small model, on which nothing has happened."""
    return live()


@pytest.fixture
def served(settings: Settings, trained: Live) -> Settings:
    """Settings whose store has the model as the current one, and whose topics are empty."""
    create_topics(settings.kafka)
    store = ModelStore(settings.models)
    store.promote(store.save(trained.model, {"kafka_offsets": {}}, snapshot=trained.snapshot))
    return settings


@pytest.fixture
def client(served: Settings) -> Iterator[TestClient]:
    """Asks a server that is ready."""
    with TestClient(create_app(served), base_url="http://127.0.0.1") as asking:
        until_ready(asking)
        yield asking


def until_ready(asking: TestClient) -> None:
    """Wait for a server."""
    until(lambda: asking.get("/readyz").status_code == 200, lambda: asking.get("/readyz").text)
