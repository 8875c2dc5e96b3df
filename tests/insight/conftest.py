"""Warehouses that are closed when their test is over, and browsers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Playwright, sync_playwright

from nextreel.insight.warehouse import Warehouse
from nextreel.settings import Settings

Open = Callable[[Settings], Warehouse]


@pytest.fixture(scope="module")
def open_warehouse() -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda settings: opened.enter_context(Warehouse(settings))


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started
