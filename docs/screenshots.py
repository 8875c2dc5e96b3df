"""Take the pictures of the dashboard: ``.venv/bin/python docs/screenshots.py``, where Chromium is installed.

They show a run of the synthetic world with a fixed seed: broker, producers, ingest, training, export and server, as a
user starts each; interactions go on flowing while they are taken.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from nextreel.kafka.broker import embedded_broker

_HERE = Path(__file__).parent
_SIZES = {"wide": (1440, 900), "phone": (390, 844)}
_PICTURES = [
    ("foryou", "wide", "light"),
    ("recommendations", "wide", "light"),
    ("engagement", "wide", "dark"),
    ("model", "wide", "light"),
    ("content", "phone", "light"),
    ("pipeline", "wide", "light"),
]
#: Interactions flow for so long before the first picture.
_FLOWING_SECONDS = 60
_COUNTS = {"users": 2_000, "movies": 600, "series": 300, "interactions": 60_000}


def main() -> None:
    """Run everything, then look."""
    browser = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as home, embedded_broker() as bootstrap:
        environment = os.environ | {"NEXTREEL_HOME": home, "NEXTREEL_KAFKA_BOOTSTRAP": bootstrap}
        nextreel = [sys.executable, "-m", "nextreel"]

        def run(*arguments: str) -> None:
            subprocess.run([*nextreel, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)

        run("topics")
        for kind, count in _COUNTS.items():
            run("produce", kind, "--count", str(count), "--rate", "max", "--seed", "7")
        run("ingest", "--once")
        run("train")
        run("export")
        going_on = [["ingest"], ["produce", "interactions", "--start", str(_COUNTS["interactions"]), "--seed", "7"]]
        with ExitStack() as running:
            for arguments in going_on:
                running.enter_context(_ended(subprocess.Popen([*nextreel, *arguments], env=environment)))
            time.sleep(_FLOWING_SECONDS)
            command = [*nextreel, "serve", "--port", "0"]
            serving = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            running.enter_context(_ended(serving))
            assert serving.stdout is not None  # noqa: S101 (it was asked for)
            _take(serving.stdout.readline().strip(), browser)


@contextmanager
def _ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End a process when it is not needed any more."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _take(url: str, browser: str) -> None:
    _wait(f"{url}/readyz")
    (_HERE / "screens").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        shown = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for view, size, theme in _PICTURES:
            width, height = _SIZES[size]
            page = shown.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
            page.add_init_script(f"localStorage.setItem('nextreel-theme', '{theme}')")
            page.goto(f"{url}/?view={view}")
            page.wait_for_selector(".reel li" if view == "foryou" else ".plot canvas")
            page.wait_for_timeout(1_500)
            page.screenshot(path=_HERE / "screens" / f"{view}-{size}-{theme}.png")
            page.close()
        shown.close()


def _wait(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address)  # noqa: S310 (this machine's own server)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{address} does not answer")


if __name__ == "__main__":
    main()
