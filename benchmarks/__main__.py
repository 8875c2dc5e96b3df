"""Run one benchmark by name."""

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return what a figure has to be read with."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def main() -> None:
    """Parse the arguments, run, print."""
    files = Path(__file__).parent.glob("[a-z]*.py")
    names = sorted(p.stem.replace("_", "-") for p in files if "\ndef run(" in p.read_text("utf-8"))
    parser = argparse.ArgumentParser(prog="./run bench", add_help=False)
    parser.add_argument("name", choices=names, nargs="?")
    parser.add_argument("-h", "--help", action="store_true", help="show this, or the options of NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments, rest = parser.parse_known_args()
    if arguments.name is None:
        parser.print_help()
        sys.exit(2 if rest else 0)
    if arguments.help:
        rest.append("--help")
    where = machine()
    module = importlib.import_module(f"benchmarks.{arguments.name.replace('-', '_')}")
    result = {"name": arguments.name, "machine": where} | module.run(rest)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{arguments.name} on {where['cores']} cores of {where['cpu']}, load {where['load_before']} before")
        module.show(result)


if __name__ == "__main__":
    main()
