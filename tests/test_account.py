"""Machines that differ: user ids without an entry in passwd, no HOME, TMPDIR without exec, another Hadoop's files."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.train.lakes import before

from nextreel import account
from nextreel.errors import NextreelError
from nextreel.lake import session
from nextreel.lake.layout import Lake, local_url

ROOT = Path(__file__).parents[1]
UID = 54321

as_root = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="only root of a Linux can become another user, and mount"
)


@pytest.fixture
def no_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A user id without an entry in passwd, whose temporary files lie in a folder of the test's."""
    pwd = pytest.importorskip("pwd")

    def missing(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_user_with_an_entry_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    assert account.substitute_name() is None
    account.set_home()
    assert os.environ["HOME"] == "/nowhere"


@pytest.mark.parametrize("home", [None, "", "/proc", "relative"])
def test_without_an_entry_and_a_home_that_can_be_written_home_is_a_private_folder(
    home: str | None, no_entry: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if home is not None:
        no_entry.setenv("HOME", home)
        no_entry.setattr(os, "access", lambda path, _: path != "/proc")  # root may write anywhere
    account.set_home()
    folder = tmp_path / f"nextreel-{os.getuid()}"
    assert os.environ["HOME"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert account.substitute_name() == f"uid{os.getuid()}"
    no_entry.setenv("USER", "ana")
    assert account.substitute_name() == "ana"


def test_a_home_that_can_be_written_stays(no_entry: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_entry.setenv("HOME", str(tmp_path))
    account.set_home()
    assert os.environ["HOME"] == str(tmp_path)


def test_where_there_is_no_folder_it_is_said_what_to_set(no_entry: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / f"nextreel-{os.getuid()}").touch()
    with pytest.raises(NextreelError, match=r"has no entry in passwd, HOME is '', and .*Set HOME to a folder"):
        account.set_home()


def test_a_folder_that_cannot_be_written_has_no_code(tmp_path: Path) -> None:
    assert account.can_execute_in(tmp_path)
    assert not account.can_execute_in(tmp_path / "missing")


def test_paths_are_of_this_machine_whatever_is_in_them(tmp_path: Path) -> None:
    assert local_url(Path("/a b/ü#%20?{1}")) == "file:///a b/ü#%20?{1}"
    assert local_url(Path("x")) == f"file://{Path.cwd()}/x"


@pytest.fixture
def noexec(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "noexec"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,size=256m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("no mounts here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@as_root
def test_spark_s_temporary_files_lie_where_libraries_can_be_loaded(
    noexec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not account.can_execute_in(noexec)
    assert session._temporary_folder(tmp_path / "cache") is None
    monkeypatch.setattr(tempfile, "tempdir", str(noexec))
    assert session._temporary_folder(tmp_path / "cache") == tmp_path / "cache" / "tmp"
    assert session._temporary_folder(noexec / "cache") is None  # Spark's own words say what to set
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(noexec))
    monkeypatch.setenv("XDG_CACHE_HOME", str(noexec / "caches"))
    assert session._cache_folder().parent == tmp_path / f"nextreel-{os.getuid()}"


def export(home: Path, *prefix: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Train and export in a process of its own, as a command does."""
    code = (
        "from nextreel.settings import load; from nextreel.lake.session import running_spark\n"
        "from nextreel.lake import tables; from nextreel.lake.layout import Lake\n"
        "from nextreel.account import set_home; set_home()\n"
        "given = load()\n"
        "with running_spark(given) as spark:\n"
        "    frame = tables.read_table(spark, Lake(given.lake.absolute()), 'interactions')\n"
        "    frame.write.option('compression', 'zstd').parquet('file://' + str(given.home / 'out'))\n"
        "    print(frame.count())\n"
    )
    variables = {"PATH": os.environ["PATH"], "NEXTREEL_HOME": str(home), "PYTHONPATH": str(ROOT / "src")} | environ
    return subprocess.run(
        [*prefix, sys.executable, "-c", code], env=variables, cwd=home, capture_output=True, text=True, timeout=300
    )


CORE_SITE = """<configuration>
<property><name>fs.defaultFS</name><value>{}</value></property>
<property><name>fs.viewfs.mounttable.other.link./tmp</name><value>file:///nowhere</value></property>
</configuration>"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["no HOME", "noexec", "hdfs://namenode.invalid:8020", "viewfs://other/"])
def test_spark_reads_and_writes_a_lake(where: str, request: pytest.FixtureRequest) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # another user reaches it, unlike pytest's folders
        home, prefix, environ = Path(name), [], dict[str, Any](HOME=os.environ.get("HOME", "/"))
        before(Lake(home / "lake"))
        if where in ("no HOME", "noexec") and (sys.platform != "linux" or os.getuid() != 0):
            pytest.skip("only root of a Linux can become another user, and mount")
        if where == "no HOME":
            for path in (home, *home.rglob("*")):
                os.chown(path, UID, 0)
            del environ["HOME"]
            prefix = ["setpriv", "--reuid", str(UID), "--regid", "0", "--clear-groups"]
        elif where == "noexec":
            environ["TMPDIR"] = str(request.getfixturevalue("noexec"))
        else:
            (home / "core-site.xml").write_text(CORE_SITE.format(where))
            environ["HADOOP_CONF_DIR"] = name
        done = export(home, *prefix, **environ)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 100
        assert not (home / "~").exists()
