"""Service through a broker's outages: what is lost, what is answered, and what memory becomes of it.

API writes, reads, events, one poison and one oversized message a minute and a thousand idle connections go to a
server, an ingest and an Apache Kafka broker, which is stopped (SIGSTOP) for 8, 12 and 25 s and killed and restarted in
turn. A quiet run of the same load without outages comes first. In the end every acknowledged event must be in the
lake, and count once. No peer runs the same, so ``peers`` is empty.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from benchmarks.outage_load import Plan
from benchmarks.serve import Server
from nextreel.kafka.apache import ApacheBroker, apache_broker
from nextreel.settings import load

#: What happens to the broker, in turn: stopped for so long, or killed and restarted (0).
_OUTAGES = (8.0, 0.0, 12.0, 0.0, 25.0, 0.0)
_CALM_SECONDS = 30.0
_SAMPLE_SECONDS = 5.0
_PERIODS = 6
_USERS, _MOVIES, _SERIES, _INTERACTIONS = 2_000, 600, 300, 50_000


def run(arguments: list[str]) -> dict[str, Any]:
    """Set a home up, load it quietly, load it through outages, and recount."""
    parser = argparse.ArgumentParser(prog="./run bench outages")
    parser.add_argument("--seconds", type=float, default=1800.0, help="length of the run with outages")
    parser.add_argument("--quiet-seconds", type=float, default=120.0, help="length of the run without")
    parser.add_argument("--writes", type=float, default=200.0, help="API writes a second")
    parser.add_argument("--reads", type=float, default=50.0, help="recommendations asked for a second")
    parser.add_argument("--events", type=float, default=1000.0, help="events produced to Kafka a second")
    parser.add_argument("--idle", type=int, default=1000, help="idle connections")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with apache_broker(load({"home": str(home)}, {})) as broker:
            environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
            environment |= {"NEXTREEL_KAFKA_BOOTSTRAP": broker.bootstrap, "NEXTREEL_HOME": str(home)}
            _prepare(environment, broker.bootstrap)
            ingest = subprocess.Popen([*_NEXTREEL, "ingest"], env=environment, stdout=subprocess.DEVNULL)
            try:
                with Server(broker.bootstrap, str(home)) as server:
                    quiet = _loaded(given, "quiet", given.quiet_seconds, server, broker, home, environment)
                    with (
                        _sampled({"server": server.pid, "ingest": ingest.pid}) as memory,
                        ThreadPoolExecutor(1) as pool,
                    ):
                        load_run = pool.submit(_loaded, given, "loud", given.seconds, server, broker, home, environment)
                        happened = _disturb(broker, load_run)
                        loud = load_run.result()
                    ready = server.get("/readyz")
            finally:
                ingest.terminate()
                ingest.wait(120)
            _command(environment, "ingest", "--once")
            recount = _recount(environment, home)
    return {
        "ours": {
            "quiet": _figures(quiet),
            "outages": _figures(loud),
            "happened": happened,
            "first_good_write_seconds": _first_good(happened, loud["good_writes"]),
            "memory_mb": {kind: _by_period(samples) for kind, samples in memory.items()},
            "ready_afterwards": ready,
            "recount": recount,
        },
        "peers": {},
        "ratios": {"read_p99": _ratio(quiet, loud)},
    }


_NEXTREEL = [sys.executable, "-m", "nextreel"]


def _command(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([*_NEXTREEL, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"nextreel {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _prepare(environment: dict[str, str], bootstrap: str) -> None:
    """Fill the topics, ingest and train."""
    _command(environment, "topics")
    kafka, admin = load({}, {}).kafka, AdminClient({"bootstrap.servers": bootstrap})
    for topic in (kafka.interactions, kafka.movies):  # the oversized message is above the contract's bound
        resource = ConfigResource(ResourceType.TOPIC, topic, {"max.message.bytes": "2000000"})
        for answer in admin.alter_configs([resource]).values():
            answer.result()
    amounts = {"users": _USERS, "movies": _MOVIES, "series": _SERIES, "interactions": _INTERACTIONS}
    for kind, count in amounts.items():
        _command(environment, "produce", kind, "--count", str(count), "--rate", "max")
    _command(environment, "ingest", "--once")
    _command(environment, "train")


def _loaded(
    given: argparse.Namespace,
    label: str,
    seconds: float,
    server: Server,
    broker: ApacheBroker,
    home: Path,
    environment: dict[str, str],
) -> dict[str, Any]:
    titles = [f"m{n:06d}" for n in range(1, _MOVIES + 1)]
    plan = Plan(
        server.url, broker.bootstrap, seconds, given.writes, given.reads, given.events, given.idle, _USERS, titles,
        label, str(home / f"acknowledged-{label}.txt"),
    )  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.outage_load"]
    done = subprocess.run(
        command, input=json.dumps(asdict(plan)), env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _disturb(broker: ApacheBroker, load: "Future[dict[str, Any]]") -> list[dict[str, float]]:
    """Stop, kill and restart the broker in turn until the load ends; return when it was away, in seconds.

    A broker ends with the thread that started it, so this runs in the main thread.
    """
    happened, began = [], time.perf_counter()
    for seconds in cycle(_OUTAGES):
        if _ends_within(load, _CALM_SECONDS):
            break
        gone = time.perf_counter()
        if seconds:
            os.kill(broker.pid, signal.SIGSTOP)
            _ends_within(load, seconds)
            os.kill(broker.pid, signal.SIGCONT)
        else:
            os.kill(broker.pid, signal.SIGKILL)
            broker.start()
            broker.wait_until_up()
        back = time.perf_counter()
        happened.append({"stopped_seconds": seconds, "gone": gone - began, "back": back - began})
    return happened


def _ends_within(load: "Future[dict[str, Any]]", seconds: float) -> bool:
    return load in wait([load], seconds).done


@contextmanager
def _sampled(pids: dict[str, int]) -> Iterator[dict[str, list[float]]]:
    """Sample the memory of processes and their children until the block ends, in MB."""
    samples: dict[str, list[float]] = {kind: [] for kind in pids}
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            for kind, pid in pids.items():
                samples[kind].append(_resident_mb(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _resident_mb(pid: int) -> float:
    total = 0
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has just ended
            continue
    return total / 1e6


def _by_period(samples: list[float]) -> list[float]:
    return [round(float(np.median(part))) for part in np.array_split(np.array(samples), _PERIODS) if len(part)]


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {"statuses": result["statuses"]}
    for kind in ("read", "health", "write"):
        seconds = np.array([seconds for _, seconds in result["seconds"][kind]])
        for p in (50, 99):
            figures[f"{kind}_p{p}_ms"] = round(float(np.percentile(seconds, p)) * 1e3, 1)
    names = ("acknowledged", "silent_refusals", "bad_sent", "idle_opened")
    return figures | {name: result[name] for name in names}


def _ratio(quiet: dict[str, Any], loud: dict[str, Any]) -> float:
    before, after = (np.percentile([s for _, s in run["seconds"]["read"]], 99) for run in (quiet, loud))
    return round(float(before / after), 3)


def _first_good(happened: list[dict[str, float]], good: list[float]) -> list[float]:
    """Return how long after each return of the broker the first write was acknowledged, in seconds."""
    moments = np.array(good)
    after = [moments[moments >= outage["back"]] - outage["back"] for outage in happened]
    return [round(float(each.min()), 2) for each in after if len(each)]


def _recount(environment: dict[str, str], home: Path) -> dict[str, Any]:
    """Look every acknowledged id up in the lake and in the exported interactions."""
    _command(environment, "export", "--star-only")
    database = duckdb.connect()
    database.execute("CREATE TABLE acknowledged (id VARCHAR)")
    for file in home.glob("acknowledged-*.txt"):
        database.execute("INSERT INTO acknowledged SELECT unnest(?)", [file.read_text().split("\n")])
    counts = {}
    sources = {
        "lake": (str(home / "lake/interactions/*/*.parquet"), "id"),
        "fact_interaction": (str(home / "exports/star/fact_interaction.parquet"), "interaction_id"),
    }
    for name, (path, column) in sources.items():
        query = f"""
            WITH ours AS (SELECT {column} AS id, count(*) AS n FROM read_parquet(?) GROUP BY 1)
            SELECT count(*), count(*) FILTER (ours.n IS NULL), count(*) FILTER (ours.n > 1)
            FROM (SELECT DISTINCT id FROM acknowledged) AS sent LEFT JOIN ours USING (id)
        """  # noqa: S608 (the column's name is one of ours)
        row = database.execute(query, [path]).fetchone()
        assert row is not None
        counts[name] = dict(zip(("acknowledged", "missing", "more_than_once"), row, strict=True))
    verified = subprocess.run([*_NEXTREEL, "lake", "verify", "--deep"], env=environment, capture_output=True)
    reasons = "SELECT reason, count(*) FROM read_parquet(?) GROUP BY 1"
    files = [str(file) for file in (home / "lake/quarantine").glob("*/*.parquet")]
    quarantined = database.execute(reasons, [files]).fetchall() if files else []
    return counts | {"verified": verified.returncode == 0, "quarantined": dict(quarantined)}


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    ours = result["ours"]
    for name in ("quiet", "outages"):
        figures = ours[name]
        times = "   ".join(
            f"{kind} p50 {figures[f'{kind}_p50_ms']:,.1f}, p99 {figures[f'{kind}_p99_ms']:,.1f} ms"
            for kind in ("read", "health", "write")
        )
        print(f"  {name:8} {times}\n           statuses {figures['statuses']}")
        print(f"           silent refusals {figures['silent_refusals']}, bad messages {figures['bad_sent']}")
    print(f"  outages {len(ours['happened'])}; first good write after each, s: {ours['first_good_write_seconds']}")
    print(f"  memory, MB by sixth of the run: {ours['memory_mb']}")
    print(f"  recount {ours['recount']}; ready afterwards: {ours['ready_afterwards']}")
