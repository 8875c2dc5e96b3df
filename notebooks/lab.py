"""Open the notebooks in JupyterLab on this machine alone, with a token; `./run notebooks` does it.

Where NEXTREEL_KAFKA_BOOTSTRAP names no broker, an embedded one runs as long as JupyterLab, so that all notebooks share
it and build upon each other.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from jupyterlab.labapp import LabApp

from nextreel.kafka.broker import embedded_broker

BOOTSTRAP = "NEXTREEL_KAFKA_BOOTSTRAP"


def main(arguments: list[str]) -> None:
    """Run JupyterLab until it is shut down; ``arguments`` are its own, as --no-browser."""
    with ExitStack() as stack:
        if BOOTSTRAP not in os.environ:
            os.environ[BOOTSTRAP] = stack.enter_context(embedded_broker())
        root = f"--ServerApp.root_dir={Path(__file__).parent}"
        LabApp.launch_instance(["--ServerApp.ip=127.0.0.1", root, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
