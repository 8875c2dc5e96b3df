"""The API does what its description says: schemathesis, all checks, on a server's process over a real broker."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.test_serve_process import server

from nextreel.serve.keys import add_key
from nextreel.settings import Settings

pytestmark = pytest.mark.slow

_SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
_CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_answers_are_as_described(served: Settings, tmp_path: Path) -> None:
    key = add_key(served.keys, "schemathesis", "admin")  # as the description says: without, who is local needs none
    with server(served, "--set", "serve.requests_per_second=0") as running:
        running.ready()
        command = [
            str(_SCHEMATHESIS),
            "--config-file",
            str(_CONFIG),
            "run",
            f"{running.url}/openapi.json",
            "--checks",
            "all",
        ]
        command += ["--max-examples", "12", "--seed", "1", "--no-color", "--header", f"X-API-Key: {key}"]
        found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        told = "\n".join(line[:500] for line in found.stdout.splitlines())
        assert found.returncode == 0, told
        assert "No issues found" in told, told
        assert running.process.poll() is None
