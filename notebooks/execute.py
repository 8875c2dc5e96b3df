"""Execute the notebooks in order, on one broker and in one home, and save them with their outputs.

    python notebooks/execute.py [--output FOLDER] [NAME …]

The broker is that of NEXTREEL_KAFKA_BOOTSTRAP, else an embedded one; the home that of NEXTREEL_HOME, else a fresh one
that is removed at the end. Without --output the notebooks are saved in their place.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from nextreel.kafka.broker import embedded_broker

HERE = Path(__file__).parent
#: In this order each goes on from what those before have left.
ORDER = (
    "kafka_producer-a",
    "kafka_producer-b",
    "kafka_producer-c",
    "structured_streaming_kafka",
    "recommendation_model",
    "explore_lake_and_factors",
)
_SECONDS = 1200  # for a cell that hangs: a busy machine is no failure
#: What a notebook says of its kernel: no version of Python, no name of an environment.
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(name: str, environment: dict[str, str]) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in a process of its own. Raises what nbclient raises where a cell fails."""
    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    folder = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(
        notebook,
        timeout=_SECONDS,
        startup_timeout=_SECONDS,
        kernel_name="python3",
        resources=folder,
        record_timing=False,
    )
    client.execute(env=environment)
    return stripped(notebook)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook without what differs from run to run and from machine to machine."""
    notebook.metadata = nbformat.from_dict(_METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number:02d}", nbformat.NotebookNode()
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = nbformat.NotebookNode()
    return notebook


def main() -> None:
    """Execute what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ORDER)}; by default all")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to save to (default: their own)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(ORDER):
        parser.error(f"no such notebook: {', '.join(sorted(unknown))}")
    with ExitStack() as stack:
        fresh = stack.enter_context(tempfile.TemporaryDirectory())
        environment = {"NEXTREEL_HOME": f"{fresh}/home"} | os.environ | {"IPYTHONDIR": f"{fresh}/ipython"}
        if "NEXTREEL_KAFKA_BOOTSTRAP" not in environment:
            environment["NEXTREEL_KAFKA_BOOTSTRAP"] = stack.enter_context(embedded_broker())
        asked.output.mkdir(parents=True, exist_ok=True)
        for name in asked.names or ORDER:
            print(name, flush=True)
            nbformat.write(execute(name, environment), asked.output / f"{name}.ipynb")


if __name__ == "__main__":
    main()
