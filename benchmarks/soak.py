"""Half an hour of steady load: whether memory and the length of a micro-batch stay what they are.

Producers send once a second, as many do: the embedded broker takes time by the batches that it holds, and it is not
what is looked at here (docs/performance.md has the figures with batches of 50 ms). There is no peer to run beside it,
so ``peers`` is empty.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import BATCHES, Lake
from nextreel.settings import load

_WARM_UP_SECONDS = 30.0
_SAMPLE_SECONDS = 5.0
_PERIODS = 6
_SHOWN = ("latest_offset", "stage", "commit")
_KINDS = ("driver", "jvm", "workers")

_Floats = np.ndarray[Any, np.dtype[np.float64]]


def run(arguments: list[str]) -> dict[str, Any]:
    """Produce at a steady rate while an ingest runs, look at both, and recount the lake in the end."""
    parser = argparse.ArgumentParser(prog="./run bench soak")
    parser.add_argument("--rate", type=float, default=2e6, help="bytes of JSON a second")
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--linger-ms", type=int, default=1000, help="how long producers wait for a batch")
    given = parser.parse_args(arguments)
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        create_topics(load({"kafka.bootstrap": bootstrap}, {}).kafka)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
        environment |= {"NEXTREEL_KAFKA_BOOTSTRAP": bootstrap, "NEXTREEL_HOME": home}
        nextreel = [sys.executable, "-m", "nextreel"]
        produce = [
            sys.executable,
            "-m",
            "benchmarks.latency",
            bootstrap,
            str(given.rate),
            f"linger.ms={given.linger_ms}",
        ]
        children = [
            subprocess.Popen(c, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for c in ([*nextreel, "ingest"], produce)
        ]
        try:
            memory = _watch(children[0].pid, given.seconds)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(60)
        told = subprocess.run(
            [*nextreel, "lake", "verify", "--deep", "--json"], env=environment, stdout=subprocess.PIPE
        )
        lake = Lake(Path(home) / "lake")
        batches = pa.concat_tables(pq.ParquetFile(file).read() for file in lake.files(BATCHES))
        n_files = sum(1 for _ in lake.root.rglob("*.parquet"))
    edges = np.linspace(memory[0, 0], memory[0, 0] + given.seconds, _PERIODS + 1)
    periods = [_period(memory, batches, begin, end) for begin, end in pairwise(edges)]
    return {
        "ours": {
            "periods": periods,
            "messages": int(np.sum(batches["messages"].to_numpy())),
            "raw_bytes": int(np.sum(batches["raw_bytes"].to_numpy())),
            "parquet_files": n_files,
            "verified": told.returncode == 0,
            "verify": json.loads(told.stdout),
        },
        "peers": {},
        "ratios": {},
    }


def _watch(pid: int, seconds: float) -> _Floats:
    """Return samples of shape (n, 1 + kinds): seconds since 1970, MB that the ingest's processes hold, by kind."""
    time.sleep(_WARM_UP_SECONDS)
    samples, began = [], time.time()
    while time.time() < began + seconds:
        samples.append((time.time(), *_held_mb(psutil.Process(pid))))
        time.sleep(_SAMPLE_SECONDS)
    return np.array(samples)


def _held_mb(parent: psutil.Process) -> list[float]:
    """Return the memory of a process, its JVM and that one's workers; pages that they share count once on Linux."""
    held = dict.fromkeys(_KINDS, 0)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            java, info = process.name() == "java", process.memory_full_info()
        except psutil.Error:  # it has just ended
            continue
        kind = "driver" if process == parent else "jvm" if java else "workers"
        held[kind] += getattr(info, "pss", info.rss)
    return [held[kind] / 1e6 for kind in _KINDS]


def _period(memory: _Floats, batches: pa.Table, begin: float, end: float) -> dict[str, Any]:
    kinds = memory[(memory[:, 0] >= begin) & (memory[:, 0] < end), 1:]
    held = kinds.sum(1)
    at = batches["committed_at"].cast(pa.int64()).to_numpy() / 1e6
    within = (at >= begin) & (at < end)
    seconds, age = (batches[name].to_numpy()[within] for name in ("seconds", "newest_age_seconds"))
    phases = {name: batches[f"{name}_seconds"].to_numpy()[within] for name in _SHOWN}
    return {
        "begin": datetime.fromtimestamp(begin, UTC).isoformat(timespec="seconds"),
        "batches": int(within.sum()),
        "messages": int(batches["messages"].to_numpy()[within].sum()),
        "memory_mb_median": round(float(np.median(held))),
        "memory_mb_most": round(float(held.max())),
        "memory_mb_by_kind": dict(zip(_KINDS, np.median(kinds, axis=0).round().tolist(), strict=True)),
        "batch_seconds_p50": round(float(np.nanpercentile(seconds, 50)), 3),
        "batch_seconds_p95": round(float(np.nanpercentile(seconds, 95)), 3),
        "newest_age_seconds_p50": round(float(np.nanpercentile(age, 50)), 3),
        "phases": {name: round(float(np.nanpercentile(p, 50)), 3) for name, p in phases.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print one line a period."""
    ours = result["ours"]
    print(
        "  micro-batches   messages   memory MB (most)   batch seconds p50, p95   " + ", ".join(_SHOWN) + "   median MB"
    )
    for p in ours["periods"]:
        memory = f"{p['memory_mb_median']:,} ({p['memory_mb_most']:,})"
        kinds = ", ".join(f"{kind} {held:,.0f}" for kind, held in p["memory_mb_by_kind"].items())
        print(
            f"  {p['batches']:13,} {p['messages']:10,} {memory:>18}   "
            f"{p['batch_seconds_p50']:.3f}, {p['batch_seconds_p95']:.3f}             "
            + ", ".join(f"{seconds:.3f}" for seconds in p["phases"].values())
            + f"   {kinds}"
        )
    recount = "the lake recounted: right" if ours["verified"] else f"THE LAKE IS NOT RIGHT: {ours['verify']}"
    raw = f"{ours['messages']:,} messages, {ours['raw_bytes'] / 1e9:.2f} GB of JSON"
    print(f"  {raw} in {ours['parquet_files']:,} files; {recount}")
