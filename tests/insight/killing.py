"""A program: ``killing.py DIRECTORY KIND`` writes recommendations again and again, killed each time a step later.

It kills itself as `tests.model.killing` does, and also between blocks of recommendations; then it looks at what is
left. It prints how often the CSV was the old one then, and how often the new one.
"""

import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.insight.test_export import FILES, WRITERS, read, row, shown, table
from tests.model.killing import kill_at, life

from nextreel.insight.export import FILE_NAME, PARQUET

N_BLOCKS = 3


def blocks(title: str) -> Iterator[pa.Table]:
    for number in range(N_BLOCKS):
        sys.audit("os.rename")  # a step
        yield table(*(row(user_id=f"u{number}", rank=rank, title=title) for rank in range(1, 11)))


def check(folder: Path) -> None:
    """Both files are whole, and the next export leaves nothing of this one."""
    csv = [line[4] for line in read(folder / FILE_NAME)[1:]]
    parquet = pq.read_table(folder / PARQUET)["title"].to_pylist()
    assert csv in (["old"] * 10 * N_BLOCKS, ["new"] * 10 * N_BLOCKS)
    assert parquet in (["old"] * 10 * N_BLOCKS, ["new"] * 10 * N_BLOCKS)
    WRITERS["file"](blocks("next"), folder)
    assert {line[4] for line in read(folder / FILE_NAME)[1:]} == {"next"}
    assert shown(folder) == FILES


def once(template: Path, folder: Path, number: int, kind: str) -> str | None:
    """Write until the ``number``-th step, then look; return whose CSV there was, None where nothing was killed."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)

    def doomed() -> None:
        kill_at(number)
        WRITERS[kind](blocks("new"), folder)

    ended = life(doomed)
    assert ended in (0, -signal.SIGKILL), f"{kind}, step {number}: exit code {ended}"
    found = read(folder / FILE_NAME)[1][4]
    assert life(lambda: check(folder)) == 0, f"{kind}, killed at step {number}"
    return found if ended else None


if __name__ == "__main__":
    directory, chosen = Path(sys.argv[1]), sys.argv[2]
    outcomes: Counter[str] = Counter()
    for before in WRITERS:
        template = directory / before
        assert life(partial(WRITERS[before], blocks("old"), template)) == 0
        for number in count(1):
            left = once(template, directory / "exports", number, chosen)
            if left is None:
                break
            outcomes[left] += 1
    print(json.dumps(outcomes))  # noqa: T201 (its answer)
