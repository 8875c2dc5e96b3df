"""Another process that writes to a lake."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CODE = """
import sys
from pathlib import Path
from nextreel.lake.layout import Lake
from nextreel.lake.locks import lock_writer
lock_writer(Lake(Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_writer(root: Path) -> Iterator[int]:
    """Hold a lake's writer lock in a process of its own, killed in the end; yields its id."""
    with subprocess.Popen(
        [sys.executable, "-c", _CODE, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other.pid
        finally:
            other.kill()
