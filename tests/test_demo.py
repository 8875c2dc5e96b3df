"""The whole path as a user starts it: ./run demo, with the real broker and real Spark, as processes of its own."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
import pyarrow.dataset as ds
import pytest
from tests.processes import tree
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FOUR_GB = 4e9


class RunningDemo:
    """A demonstration in a process group of its own, with all that it has started."""

    def __init__(self, home: Path, *arguments: str):
        environment = os.environ | {"NEXTREEL_HOME": str(home), "NEXTREEL_VENV": sys.prefix}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "run", "demo", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.seen: set[psutil.Process] = set()
        self.peak = 0.0
        self.lines: list[str] = []
        self._printed: list[str] = []
        streams = ((self.process.stdout, [self.lines, self._printed]), (self.process.stderr, [self.lines]))
        self._readers = [threading.Thread(target=self._read, args=each, daemon=True) for each in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], kept: list[list[str]]) -> None:
        for line in stream:
            for lines in kept:
                lines.append(line)

    def ended(self) -> str:
        """Wait for its end, which is to be a good one; return what it has printed."""
        code = self.process.wait()
        for reader in self._readers:
            reader.join()
        assert code == 0, self.output
        return "".join(self._printed)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def watch(self, text: str = "\0") -> None:
        """Measure until the process ends or ``text`` is printed."""
        self.until(lambda: self.process.poll() is not None or text in self.output)

    def until(self, true: Callable[[], bool]) -> None:
        """Measure until something is so."""

        def is_so() -> bool:
            self.measure()
            return true()

        until(is_so, lambda: self.output, pause=0.2)

    def measure(self) -> None:
        resident = 0
        for process in tree(self.process.pid):
            with suppress(psutil.Error):  # it has ended meanwhile
                resident += process.memory_info().rss
                self.seen.add(process)
        self.peak = max(self.peak, resident)

    def kill(self) -> None:
        for process in self.seen:
            with suppress(psutil.NoSuchProcess):  # as one that has its number now is not it
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def demo_in(tmp_path: Path) -> Iterator[list[RunningDemo]]:
    started: list[RunningDemo] = []
    yield started
    for demo in started:
        demo.kill()


def test_real_ratings_become_recommendations(tmp_path: Path, movielens_small: Path, demo_in: list[RunningDemo]) -> None:
    demo = RunningDemo(tmp_path, "--once", "--json", "--movielens", str(movielens_small))
    demo_in.append(demo)
    demo.watch()
    found = json.loads(demo.ended())
    assert demo.peak < FOUR_GB

    lake = tmp_path / "demo" / "lake"
    interactions = ds.dataset([str(f) for f in lake.glob("interactions/*/*.parquet")]).to_table()
    arrived = dict(zip(interactions["id"].to_pylist(), interactions["calificacion"].to_pylist(), strict=True))
    with (movielens_small / "ratings.csv").open() as file:
        given = {f"r{r['userId']}-{r['movieId']}": float(r["rating"]) for r in csv.DictReader(file)}
    assert interactions.num_rows == len(given) == 100_004
    assert arrived == given

    with (tmp_path / "demo" / "exports" / "final_recommendations.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["user_id", "username", "rank", "content_id", "title", "type", "genres", "predicted_rating"]
    lists = defaultdict(list)
    for row in rows:
        assert 0.5 <= float(row["predicted_rating"]) <= 5.0
        assert f"r{row['user_id'][1:]}-{row['content_id'][1:]}" not in given, "already rated"
        lists[row["user_id"]].append(int(row["rank"]))
    assert len(lists) == 671
    assert all(ranks == list(range(1, 11)) for ranks in lists.values())
    assert list(lists) == sorted(lists)

    models = tmp_path / "demo" / "models"
    facts = json.loads((models / (models / "current").read_text().strip() / "model.json").read_text())
    assert facts["data"]["ratings"] == sum(facts["kafka_offsets"]["producer4_topic"].values()) == len(given)
    accuracy, ranking = found["evaluation"]["accuracy"], found["evaluation"]["ranking"]
    assert accuracy["als"]["rmse"] <= accuracy["bias"]["rmse"] < accuracy["mean"]["rmse"]
    assert accuracy["als"]["rmse"] < 0.90
    assert ranking["als"]["ndcg"] > 1.2 * ranking["popularity"]["ndcg"]


def test_synthetic_world_goes_on_until_ctrl_c(tmp_path: Path, demo_in: list[RunningDemo]) -> None:
    demo = RunningDemo(tmp_path)
    demo_in.append(demo)
    demo.watch("Ctrl-C ends it")
    assert "120,000" in demo.output, demo.output
    assert "unknown type" in demo.output, "the broken messages are in quarantine, by reason"
    lake = tmp_path / "demo" / "lake"
    files = len(list(lake.glob("interactions/*/*.parquet")))
    demo.until(lambda: len(list(lake.glob("interactions/*/*.parquet"))) > files)
    told = dict(line.split() for line in demo.lines if " http://127.0.0.1:" in line)
    url = told["API"]
    user = urlsplit(url).path.split("/")[3]
    assert lists_of(tmp_path)[user]
    until(lambda: asked(url.replace(urlsplit(url).path, "/readyz"))[0] == 200)
    answer = asked(url)
    assert (answer[0], len(answer[1]["items"])) == (200, 10)
    assert all("reason" in item for item in answer[1]["items"])
    with urllib.request.urlopen(told["dashboard"]) as page:
        assert b"<title>nextreel" in page.read()
    assert demo.peak < FOUR_GB

    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait() == 130, demo.output
    assert "Traceback" not in demo.output
    gone, left = psutil.wait_procs(demo.seen, timeout=30)
    assert not left, f"left behind: {left}"
    assert (tmp_path / "demo" / "exports" / "final_recommendations.csv").exists()
    assert gone


def lists_of(home: Path) -> dict[str, list[str]]:
    """Return everybody's titles, by user, of the CSV."""
    found = defaultdict(list)
    with (home / "demo" / "exports" / "final_recommendations.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["user_id"]].append(row["content_id"])
    return found


def asked(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error)


def test_a_directory_without_ratings_is_refused(tmp_path: Path, demo_in: list[RunningDemo]) -> None:
    demo = RunningDemo(tmp_path, "--once", "--movielens", str(tmp_path / "nothing"))
    demo_in.append(demo)
    demo.watch()
    assert demo.process.wait() == 2
    assert "ratings.csv" in demo.output
    assert "Traceback" not in demo.output
