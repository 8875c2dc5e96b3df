"""From the command to the first recommendations: ``./run demo --once``, as whole processes.

There is no peer to run beside it (none goes from Kafka to recommendations by one command), so ``peers`` is empty.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path(__file__).parents[1]


def run(arguments: list[str]) -> dict[str, Any]:
    """Run the demonstration ``--runs`` times and take medians."""
    parser = argparse.ArgumentParser(prog="./run bench first-recommendation")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--movielens", metavar="DIR", help="real ratings instead of the synthetic world")
    given = parser.parse_args(arguments)
    extra = ["--movielens", given.movielens] if given.movielens else []
    rounds = [_one(extra) for _ in range(given.runs)]
    steps = {name: statistics.median(r["seconds"][name] for r in rounds) for name in rounds[0]["seconds"]}
    return {
        "ours": {
            "seconds": statistics.median(r["first"] for r in rounds),
            "seconds_all_runs": [r["first"] for r in rounds],
            "seconds_until_exit": statistics.median(r["whole"] for r in rounds),
            "peak_resident_mb": max(r["peak_mb"] for r in rounds),
            "steps": steps,
        },
        "peers": {},
        "ratios": {},
    }


def _one(extra: list[str]) -> dict[str, Any]:
    began = time.monotonic()
    command = [sys.executable, str(_ROOT / "run"), "demo", "--once", "--json", *extra]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_") or k == "NEXTREEL_VENV"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _resident_mb(process.pid))
        time.sleep(0.2)
    whole = time.monotonic() - began
    output = process.stdout.read() if process.stdout else ""
    if process.returncode != 0:
        raise SystemExit(f"the demonstration failed with exit code {process.returncode}")
    found: dict[str, Any] = json.loads(output)
    # The summary is printed when the recommendations stand; what is before the command's own clock is its start.
    return found | {
        "whole": round(whole, 2),
        "first": round(found["since_start_seconds"], 2),
        "peak_mb": round(peak),
    }


def _resident_mb(pid: int) -> float:
    """Return the resident memory of a process and all its children, shared pages counted in each."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.Error:
        pass
    return total / 1e6


def show(result: dict[str, Any]) -> None:
    """Print the medians, step by step."""
    ours = result["ours"]
    for name, seconds in ours["steps"].items():
        print(f"  {name:<45} {seconds:6.1f} s")
    print(f"  {'first recommendations after':<45} {ours['seconds']:6.1f} s  (runs: {ours['seconds_all_runs']})")
    print(f"  {'until the command has ended':<45} {ours['seconds_until_exit']:6.1f} s")
    print(f"  {'peak resident memory, all processes':<45} {ours['peak_resident_mb']:6,} MB")
