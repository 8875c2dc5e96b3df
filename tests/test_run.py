"""The script ``run`` and the lock files that it installs from."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
NPM_LOCKS = sorted((ROOT / "tests").rglob("package-lock.json"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with an environment that does not exist yet."""
    monkeypatch.setenv("NEXTREEL_VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("nextreel_run", str(ROOT / "run"))
    spec = importlib.util.spec_from_loader("nextreel_run", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return module


@pytest.fixture
def locked(run: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Requirements of their own, and an environment that has the installer and nothing else."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "runtime.txt").write_text("one")
    monkeypatch.setattr(run, "REQUIREMENTS", folder)
    run.PYTHON.parent.mkdir(parents=True)
    run.PYTHON.touch()
    (run.VENV / "installed-bootstrap").touch()
    return folder


def with_java(patch: pytest.MonkeyPatch, home: Path | None) -> None:
    patch.setattr("nextreel.java.system_java_home", lambda: home)


def test_an_old_python_can_read_the_script_and_its_message() -> None:
    text = (ROOT / "run").read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    first = next(node for node in tree.body if isinstance(node, ast.If))
    before = tree.body[: tree.body.index(first)]
    assert [ast.unparse(node) for node in before[1:]] == ["import sys"]  # [0] is the docstring
    assert ast.unparse(first.test) == "sys.version_info < (3, 11)"
    exit_call = first.body[0]
    assert isinstance(exit_call, ast.Expr)
    assert "needs Python 3.11 or newer" in ast.unparse(exit_call)


def test_the_script_can_be_started() -> None:
    assert (ROOT / "run").stat().st_mode & 0o111
    assert (ROOT / "run").read_text("utf-8").startswith("#!/usr/bin/env python3\n")


def test_a_group_of_tests_runs_in_one_process(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(
        "import os, pytest\npytestmark = pytest.mark.xdist_group('both')\n"
        "@pytest.mark.parametrize('name', 'ab')\ndef test(name): open(name, 'w').write(str(os.getpid()))\n"
    )
    command = [sys.executable, "-m", "pytest", *run.all_tests(), "-c", os.devnull, "--rootdir", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("demo", ["runtime"]),
        ("--help", ["runtime"]),
        ("tune", ["runtime", "tune"]),
        ("test", ["runtime", "dev", "tune"]),
        ("check", ["runtime", "dev", "tune"]),
        ("bench", ["runtime", "dev", "bench"]),
        ("notebooks", ["runtime", "notebooks"]),
    ],
)
def test_what_a_command_needs(
    run: ModuleType, command: str, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    with_java(monkeypatch, tmp_path / "jdk")
    assert run.wanted(command) == files
    with_java(monkeypatch, None)  # decided once
    assert run.wanted(command) == files


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("", "--help"),
        ("--version", "--help"),
        ("tune --trials 9", "tune"),
        ("--set train.factors=9 --config some.toml --set=a=b tune", "tune"),
        ("--set", "--help"),
        ("models list", "models"),
    ],
)
def test_the_command_is_found_behind_settings(run: ModuleType, arguments: str, command: str) -> None:
    assert run.command_of(arguments.split()) == command


def test_without_a_java_its_package_is_needed(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_java(monkeypatch, None)
    assert run.wanted("test") == ["runtime", "dev", "tune", "java"]
    said = capsys.readouterr()
    assert said.out == ""
    assert "no Java 17 or newer on this machine" in said.err
    with_java(monkeypatch, tmp_path)
    assert run.wanted("demo") == ["runtime", "java"]
    assert capsys.readouterr().err == ""


def test_a_java_that_is_gone_is_looked_for_again(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jdk = tmp_path / "jdk"
    (jdk / "bin").mkdir(parents=True)
    with_java(monkeypatch, jdk)
    assert run.wanted("demo") == ["runtime"]
    (jdk / "bin").rmdir()
    with_java(monkeypatch, None)
    assert run.wanted("demo") == ["runtime", "java"]


def test_what_is_in_the_environment_is_not_installed_again(
    run: ModuleType, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def start(command: list[str]) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(run.subprocess, "run", start)
    run.install("runtime")
    assert len(started) == 1
    assert "--require-hashes" in started[0]
    assert started[0][-1] == str(locked / "runtime.txt")
    run.install("runtime")
    assert len(started) == 1
    (locked / "runtime.txt").write_text("two")
    run.install("runtime")
    assert len(started) == 2
    assert not any("--reinstall" in command or "--force-reinstall" in command for command in started)


def test_what_an_interrupted_installation_left_is_installed_again(
    run: ModuleType, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package's metadata may be complete where its files are not."""
    started: list[list[str]] = []

    def start(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        if len(started) == 1:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(run.subprocess, "run", start)
    with pytest.raises(KeyboardInterrupt):
        run.install("runtime")
    run.install("runtime")
    assert ["--force-reinstall" in command for command in started] == [False, True]
    (locked / "runtime.txt").write_text("two")
    run.install("runtime")
    assert "--force-reinstall" not in started[-1]


def test_the_package_is_found_in_a_folder_whose_name_the_locale_does_not_have(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path / "Señal 電影")
    libraries = run.VENV / "lib" / "python3.11" / "site-packages"
    libraries.mkdir(parents=True)
    run.link_package()
    line = (libraries / "nextreel.pth").read_text("ascii")
    monkeypatch.setattr(sys, "path", [])
    exec(line)  # noqa: S102 (as Python's site does)
    assert sys.path == [str(tmp_path / "Señal 電影" / "src")]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([0, 0, 0, 0], 0),
        ([0, -9, 0, 0], 137),
        ([0, 0, 0, -15], 143),
        ([-9, 1, 0, 0], 137),
        ([0, 2, 1, 0], 2),
        ([1, -9, 2, 0], 1),
    ],
)
def test_a_checker_that_fails_or_is_killed_is_no_success(
    run: ModuleType, codes: list[int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(codes)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(run, "wanted", lambda _: [])
    monkeypatch.setattr(run, "link_package", lambda: None)
    monkeypatch.setattr(run.subprocess, "run", lambda c, **_: subprocess.CompletedProcess(c, next(left)))
    assert run.main(["check"]) == expected
    assert list(left) == []


def test_the_lock_files_are_what_the_script_knows(run: ModuleType) -> None:
    assert sorted(run.LOCKED) == [lock.stem for lock in LOCKS]
    assert {name for extras in run.EXTRAS.values() for name in extras} | {"runtime", "java"} <= set(run.LOCKED)
    assert [name for name in run.LOCKED if not (ROOT / "requirements" / f"{name}.in").exists()] == []


def test_the_runtime_is_what_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert _declared("runtime") == project["dependencies"]
    for extra in ("java", "notebooks", "tune"):
        assert _declared(extra) == project["optional-dependencies"][extra]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_file_pins_every_package_by_hash_and_names_no_server(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert "://" not in text
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    wrong = [line for line in lines if not re.match(r"[A-Za-z0-9_.-]+==\S+.*--hash=sha256:[0-9a-f]{64}", line)]
    assert wrong == []


@pytest.mark.parametrize("lock", NPM_LOCKS, ids=lambda lock: lock.parent.name)
def test_a_lock_file_of_npm_holds_names_versions_and_hashes_only(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert len(packages) > 1
    for name, package in packages.items():
        assert package.keys() <= {
            "name",
            "version",
            "integrity",
            "dependencies",
            "peerDependencies",
            "peerDependenciesMeta",
            "bin",
        }
        assert not name or re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package["integrity"])


def _declared(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.in").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-c"))]


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_what_is_declared_is_locked() -> None:
    for name in ("runtime", "tune", "notebooks"):
        assert {re.split(r"[<>=~!]", line)[0] for line in _declared(name)} - _pins(name).keys() == set()


def test_the_lock_files_agree_with_each_other() -> None:
    for one, other in (
        ("runtime", "dev"),
        ("runtime", "java"),
        ("runtime", "bootstrap"),
        ("runtime", "tune"),
        ("dev", "tune"),
        ("runtime", "notebooks"),
        ("dev", "notebooks"),
    ):
        pins = _pins(one)
        both = {name: (version, pins[name]) for name, version in _pins(other).items() if name in pins}
        assert {name: pair for name, pair in both.items() if pair[0] != pair[1]} == {}


@pytest.mark.skipif(sys.prefix != str(ROOT / ".venv"), reason="not in the environment that ./run has made")
def test_run_hands_over_to_the_command() -> None:
    answer = subprocess.run([ROOT / "run", "settings"], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["kafka"]["users"] == "producer1_topic"
    wrong = subprocess.run([ROOT / "run", "--set", "train.factors=0", "settings"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "train.factors = '0'" in wrong.stderr
