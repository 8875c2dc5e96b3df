"""Warehouses that are closed when their test is over."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from nextreel.insight.warehouse import Warehouse
from nextreel.settings import Settings

Open = Callable[[Settings], Warehouse]


@pytest.fixture(scope="module")
def open_warehouse() -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda settings: opened.enter_context(Warehouse(settings))
