"""Looking at the dashboard in a real browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Dialog, Page
from tests.waiting import HANG_SECONDS

from nextreel.insight.views import VIEWS

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in _BROWSERS if (path := shutil.which(name))), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page is not looked at")

CHARTED = [view.name for view in VIEWS]
PATIENCE_MS = HANG_SECONDS * 1000
EVERY_VIEW = ["foryou", *CHARTED, "pipeline"]


@contextmanager
def browsing(browser: Browser, url: str, expected: str = "") -> Iterator[Page]:
    """Give a page that fails the test where anything is wrong in the console, or asked of another host.

    What it stores is its own. Nothing is wrong with messages that have ``expected`` in them.
    """
    shown = browser.new_page(viewport={"width": 1440, "height": 1000}, base_url=url, reduced_motion="reduce")
    shown.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []

    def asked_of(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    shown.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("dialog", asked_of)
    shown.on("request", lambda asked: None if asked.url.startswith((url, "blob:")) else wrong.append(asked.url))
    try:
        yield shown
    except BaseException as error:
        error.add_note(f"wrong on the page: {wrong}")
        raise
    finally:
        shown.close()
    wrong = [text for text in wrong if not expected or expected not in text]
    assert not wrong, wrong


def opened(page: Page, address: str) -> None:
    """Open a view and wait until its figures are there."""
    page.goto(address)
    settle(page)


def settle(page: Page) -> None:
    """Wait until what is shown is what the address asks for."""
    view = parse_qs(urlsplit(page.url).query).get("view", ["foryou"])[0]
    if view in CHARTED:
        page.wait_for_function(
            """() => {
                const asked = new URLSearchParams(location.search);
                for (const name of ["view", "person", "like"]) asked.delete(name);
                const { query, drawn } = document.querySelector("main").dataset;
                return query === asked.toString() && drawn === "true";
            }"""
        )
    else:
        page.wait_for_selector(".reel li" if view == "foryou" else ".figure strong")


def figure(page: Page, name: str) -> str:
    return page.locator(f'[data-chart="figure_{name}"]').inner_text()


def table(page: Page, chart: str) -> dict[str, list[str]]:
    """Return a chart's table: what is in each row behind its first cell."""
    card = page.locator(f'section[data-chart="{chart}"]')
    details = card.locator("details")
    if details.count() and details.get_attribute("open") is None:
        details.locator("summary").click()
    card.locator("tbody tr").first.wait_for()
    rows = card.locator("tbody tr").all()
    cells = [[cell.inner_text() for cell in row.locator("td").all()] for row in rows]
    return {first: rest for first, *rest in cells}


def number(text: str) -> float:
    return float(text.replace(",", "").replace("★", "").replace("%", ""))
