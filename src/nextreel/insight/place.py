"""Exports take their places when they are whole.

Until then they lie beside, in a folder ``.export.…``, which goes in the end; what a kill leaves of one goes with the
next export.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from nextreel.durable import sync, take_place
from nextreel.errors import LakeError
from nextreel.lake.exchange import exchange
from nextreel.locks import changing, in_use, unused

_BESIDE = ".export."
_KEPT = "kept"


@contextmanager
def taking_place(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder for files or folders of some names, which take their places when the block has ended well."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{_BESIDE}{uuid4().hex}"
    with ExitStack() as ours:
        with changing(folder):
            _remove_leftovers(folder)
            fresh.mkdir()
            ours.callback(shutil.rmtree, fresh, ignore_errors=True)
            (fresh / _KEPT).touch()
            ours.enter_context(in_use(fresh / _KEPT))
        yield fresh
        for path in (*fresh.rglob("*"), fresh):
            sync(path)
        with changing(folder):  # those of one export together
            for name in names:
                _take_place(fresh / name, folder / name)
        sync(folder)


def _take_place(fresh: Path, path: Path) -> None:
    """Put a file or a folder where another may be, in one step; what was there is beside then, or gone.

    Where the file system knows no such step for folders, it is two: for a moment there is nothing.
    """
    if not (path.is_dir() or (fresh.is_dir() and path.exists())):
        take_place(fresh, path)
        return
    try:
        exchange(fresh, path)
    except LakeError:
        path.rename(fresh.with_suffix(".old"))
        fresh.rename(path)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left: nobody keeps it."""
    for left in folder.glob(f"{_BESIDE}*"):
        with suppress(OSError), unused(left / _KEPT) as free:  # it may be another user's
            if free:
                shutil.rmtree(left)
