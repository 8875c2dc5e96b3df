"""Temporary folders: gone with their process, or after it."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from nextreel.locks import HAS_LOCKS
from nextreel.scratch import scratch_folder

HOLD = """if True:
    import sys
    from nextreel.scratch import scratch_folder
    with scratch_folder() as folder:
        (folder / "large").write_bytes(bytes(1000))
        print(folder, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_it_goes_with_its_block(temporary: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == temporary
        (folder / "sub").mkdir()
        (folder / "sub" / "file").touch()
    with suppress(ZeroDivisionError), scratch_folder() as other:
        assert other.exists()
        _ = 1 / 0
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that was forked is not on Windows")
def test_it_goes_with_a_process_that_leaves_the_block_open(temporary: Path) -> None:
    script = """if True:
        import os
        from nextreel.scratch import scratch_folder
        block = scratch_folder()
        block.__enter__()
        if (child := os.fork()) == 0:
            raise SystemExit
        os.waitpid(child, 0)
        assert len(os.listdir(os.environ["TMPDIR"])) == 1
    """
    subprocess.run([sys.executable, "-c", script], check=True)
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not HAS_LOCKS, reason="on Windows nothing counts as unused")
def test_what_a_kill_leaves_goes_with_the_next_one_and_what_is_used_stays(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pipe = subprocess.PIPE
    holding = [subprocess.Popen([sys.executable, "-c", HOLD], stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        killed, used = (Path(str(process.stdout and process.stdout.readline().strip())) for process in holding)
        holding[0].kill()
        holding[0].wait()
        assert {killed, used} == set(temporary.iterdir())
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        (elsewhere / "file").touch()
        link, file = temporary / "nextreel-scratch-link", temporary / "nextreel-scratch-file"
        link.symlink_to(elsewhere)
        os.mkfifo(file)
        with scratch_folder() as folder:
            assert {used, folder, link, file} == set(temporary.iterdir())
            assert (used / "large").stat().st_size == 1000
        holding[1].communicate("")
        assert {link, file} == set(temporary.iterdir())
        assert (elsewhere / "file").exists()
    finally:
        for process in holding:
            process.kill()
