"""Warehouses that are closed when their test is over, and browsers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.insight.browsing import BROWSER, PATIENCE_MS

from nextreel.insight.warehouse import Warehouse
from nextreel.settings import Settings

Open = Callable[[Settings], Warehouse]


@pytest.fixture(scope="module")
def open_warehouse() -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda settings: opened.enter_context(Warehouse(settings))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a module, whose tests each have a page of their own."""
    with (
        sync_playwright() as started,
        started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=PATIENCE_MS) as launched,
    ):
        yield launched
