"""The pages are followed: their command lines are typed into a shell, one after another, in one folder.

The README's steps come first; the other pages go on from what these leave. What is not run has a mark in its page that
says why, or is in `ELSEWHERE`.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from tests.commands import ROOT, sessions, spans
from tests.processes import kill
from tests.test_docs import PROSE, name_of
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the pages' lines are for bash")

#: Lines that another test or page runs, or that are this very run: where.
ELSEWHERE = {
    ("README.md", "./run demo"): "tests/test_demo.py",
    ("README.md", "./run demo --once --movielens ml-latest-small"): "tests/test_demo.py",
    ("README.md", "./run notebooks"): "tests/test_notebooks.py",
    ("README.md", "./run test"): ".ci/run",
    ("README.md", "python3 -m venv env && . env/bin/activate"): "tests/test_wheel.py",
    ("README.md", "python -m pip wheel --no-deps -w dist ."): "tests/test_wheel.py",
    ("README.md", 'python -m pip install "dist/nextreel-0.1.0-py3-none-any.whl[java]"'): "tests/test_wheel.py",
    ("README.md", "nextreel demo --once"): "tests/test_wheel.py",
    ("README.md", "./run replay movielens ml-latest-small"): "tests/cli/test_replay.py",
    ("README.md", "./run tune"): "tests/cli/test_tune.py",
    ("README.md", "./run serve"): "docs/serving.md",
    ("README.md", "./run up"): "docs/serving.md",
    ("CONTRIBUTING.md", "./run check"): ".ci/run",
    ("CONTRIBUTING.md", "./run test"): ".ci/run",
    ("docs/evaluation.md", "./run evaluate"): "tests/cli/test_evaluate.py",
    ("docs/evaluation.md", "./run evaluate --split last --last-k 3 --json"): "tests/cli/test_evaluate.py",
    ("docs/powerbi.md", "./run export"): "README.md",
    ("docs/tuning.md", "./run tune"): "tests/cli/test_tune.py",
    ("docs/tuning.md", "./run tune --trials 120 --force"): "tests/cli/test_tune.py",
    ("docs/tuning.md", "./run tune --minutes 30 --force"): "tests/cli/test_tune.py",
    ("notebooks/README.md", "./run notebooks"): "tests/test_notebooks.py",
    ("notebooks/README.md", ".venv/bin/python notebooks/execute.py"): "tests/test_notebooks.py",
}
#: Lines that go on until Ctrl-C: what they have printed when they run, and the exit code after it.
LASTING = {
    "./run broker": (r"127\.0\.0\.1:\d+", 0),
    "./run serve": (r"http://127\.0\.0\.1:\d+", 130),
    "./run up": (r"http://127\.0\.0\.1:\d+", 0),
    "./run ingest --metrics-port 9464": (r"http://127\.0\.0\.1:\d+/metrics", 0),
}
#: Exit codes that are not 0.
CODES = {"./run quarantine replay --from fix.jsonl": 1}
#: What lines of a page print, in part.
PRINTED = {
    "README.md": {
        "./run produce users --count 2000 --rate max": "2,000 messages delivered",
        "./run ingest --once": '"users": 2000',
        "./run train": "is current",
        "./run export": "final_recommendations.csv",
        "./run powerbi": "nextreel.pbip",
        "./run recommend u000098 --explain": "because",
        "./run status": "interactions   120,000",
        "./run quarantine": "not UTF-8",
        "./run lake verify --deep": "all as recorded",
    },
    "CONTRIBUTING.md": {"./run bench": "first-recommendation"},
    "docs/data.md": {
        "./run replay check catalogue docs/examples/titles.csv": "would be sent: 4 movies, 2 series, of 10"
    },
    "docs/operations.md": {"./run ingest --once": '"movies": '},
    "docs/quarantine.md": {"./run quarantine replay --from fix.jsonl": "1 would be rejected again: wrong type 1"},
}
#: What is typed before a page's own lines.
BEFORE = {
    "docs/dashboard.md": ["./run serve"],
    "docs/models.md": ["./run --set train.factors=32 train"],  # a second version, so that there is one to go back to
    # What came since the backup; others may have been read before.
    "docs/operations.md": ["./run keys add me", "./run replay catalogue docs/examples/titles.csv"],
}
#: Commands that sentences alone name.
SENTENCES = (
    "./run topics",
    "./run status --five-vs",
    "./run models list",
    "./run lake verify",
    "./run lake compact",
    "./run powerbi --check",
    "./run replay users people.csv",
)
#: Their like, in other tests.
SENTENCES_ELSEWHERE = {
    "./run demo --once": "tests/test_wheel.py",
    "./run --config <home>/tuning/nextreel.toml train": "tests/cli/test_tune.py",
    "./run --set ingest.fail_on_data_loss=false ingest": "tests/ingest/test_gaps.py",
    "./run broker --apache": "tests/kafka/test_apache.py",
    "./run up --broker": "tests/test_up.py",
}
#: The README is followed by a fixture, and a server asks for keys once there are any.
FIRST, LAST = "README.md", "docs/operations.md"


def lines_of(page: Path) -> Iterator[tuple[str, str | None]]:
    """Yield a page's lines of a shell, and why one is not run."""
    for session in sessions(page.read_text("utf-8")):
        for line in session.lines:
            yield line, session.why_not or ELSEWHERE.get((name_of(page), line))


LINES = {name_of(page): list(lines_of(page)) for page in PROSE}
FOLLOWED = {page: found for page, lines in LINES.items() if (found := [line for line, why in lines if not why])}


class Shell:
    """A folder with a shell in it, as whoever follows a page has it: what is exported stays, servers run beside."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.stands_for: dict[str, str] = {}
        self._exports: list[str] = []
        self._running: list[tuple[str, psutil.Popen]] = []
        programs = folder / "programs"
        programs.mkdir()
        python = shlex.quote(sys.executable)
        bench = f'[ "$1" = bench ] && cd {shlex.quote(str(ROOT))} && exec {python} -m benchmarks'
        for file, script in {
            folder / "run": f'{bench}\nexec {python} -m nextreel "$@"',
            programs / "nextreel": f'exec {python} -m nextreel "$@"',
            programs / "curl": f'exec {shutil.which("curl")} --silent --show-error --fail-with-body "$@"',
        }.items():
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)
        (folder / "docs").symlink_to(ROOT / "docs")
        own = {name: value for name, value in os.environ.items() if not name.startswith("NEXTREEL_")}
        own |= {"PATH": f"{programs}:{own['PATH']}", "COLUMNS": "200", "NEXTREEL_SERVE_PORT": "0"}
        own |= {
            "NEXTREEL_TRAIN_FACTORS": "16",
            "NEXTREEL_TRAIN_ITERATIONS": "5",
            "NEXTREEL_EVALUATION_RESAMPLES": "100",
        }
        self.given = own

    def follow(self, page: str, lines: list[str]) -> None:
        """Type lines, one after another; what lasts is stopped before the next one, unless that is a request."""
        for line in lines:
            if not line.startswith("curl "):
                self.stop()
            if line in LASTING:
                self.start(line)
            else:
                printed = self.type(line)
                assert PRINTED.get(page, {}).get(line, "") in printed, f"{line}: {printed}"
            if line.startswith("./run quarantine export fix.jsonl"):
                fix(self.folder / "fix.jsonl")

    def type(self, line: str) -> str:
        """Run a line, which has to end with the code that its page says; returns what it printed."""
        if line.startswith("export "):
            self._exports.append(line)
        command = self._command(line)
        ended = subprocess.run(command, env=self.given, cwd=self.folder, capture_output=True, text=True)
        printed = ended.stdout + ended.stderr
        assert ended.returncode == CODES.get(line, 0), f"{line}: {printed}"
        return printed

    def start(self, line: str) -> str:
        """Run a line beside the others; returns what is waited for, an address of the web until that answers."""
        log = self.folder / f"log-{len(self._running)}"
        with log.open("wb") as file:
            process = psutil.Popen(
                self._command(f"exec {line}"), env=self.given, cwd=self.folder, stdout=file, stderr=file
            )
        self._running.append((line, process))

        def told() -> str:
            return f"{line}: {log.read_text('utf-8')}"

        def address() -> str:
            assert process.poll() is None, told()
            found = re.search(LASTING[line][0], log.read_text("utf-8"))
            return found[0] if found and answers(found[0]) else ""

        found = until(address, told, pause=0.1)
        if line == "./run serve":
            self.stands_for["http://127.0.0.1:8000"] = self.stands_for["127.0.0.1:8000"] = found
        return found

    def stop(self) -> None:
        """Type Ctrl-C where something was started; the broker stays."""
        while self._running and self._running[-1][0] != "./run broker":
            self._interrupt()

    def begin(self) -> None:
        """Be a new shell: what was exported is forgotten, and what was started is stopped."""
        self.stop()
        self._exports.clear()

    def end(self) -> None:
        """Stop what was started, the broker last."""
        while self._running:
            self._interrupt()

    def _interrupt(self) -> None:
        line, process = self._running.pop()
        try:
            assert process.poll() is None, f"{line} ended by itself"
            process.send_signal(signal.SIGINT)
            assert process.wait() == LASTING[line][1], line
        finally:
            kill(process)

    def _command(self, line: str) -> list[str]:
        for written, meant in self.stands_for.items():
            line = line.replace(written, meant)
        return ["bash", "-c", "\n".join([*self._exports, line])]


def fix(exported: Path) -> None:
    """Mend what was exported of the quarantine with an editor, all but what has a wrong type."""
    lines = [json.loads(line) for line in exported.read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        if line["reason"] != "wrong type":
            line.pop("value_base64", None)
            line["value"] = {"id": f"u{number:06}", "type": "user", "timestamp": "2026-11-01T00:00:00Z"}
    exported.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


def answers(address: str) -> bool:
    """Tell whether who printed an address is ready to answer there; one that is not of the web is not asked."""
    if not address.startswith("http"):
        return True
    try:
        ready = address if address.endswith("/metrics") else f"{address}/readyz"
        with urllib.request.urlopen(ready) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder in which the README's steps have been followed, while somebody sent four broken messages, too."""
    shell = Shell(tmp_path_factory.mktemp("folder"))
    try:
        broker, *steps = FOLLOWED[FIRST]
        address = shell.start(broker)
        shell.given["NEXTREEL_KAFKA_BOOTSTRAP"] = address
        first_read = steps.index("./run ingest --once")
        shell.follow(FIRST, steps[:first_read])
        shell.stands_for["producer1_topic/1/100"] = send_broken(address)
        shell.follow(FIRST, steps[first_read:])
        shell.stands_for["VERSION"] = (shell.folder / "nextreel-data/models/current").read_text("utf-8").strip()
        with socket.create_server(("127.0.0.1", 0)) as free:
            shell.stands_for["--metrics-port 9464"] = f"--metrics-port {free.getsockname()[1]}"
        yield shell
    finally:
        shell.end()


def send_broken(bootstrap: str) -> str:
    """Send messages that break the contract in three ways; returns the place of one whose field has a wrong type."""
    places = []
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in (
        b"\xff\xfe",
        b"\xff",
        b'{"id":"m1","type":"movie"}',
        b'{"id":"u1","type":"user","timestamp":"2026-11-01T00:00:00Z","generos":"Drama, Crime"}',
    ):
        producer.produce(
            "producer1_topic", value, partition=1,
            on_delivery=lambda _, sent: places.append(f"{sent.topic()}/{sent.partition()}/{sent.offset()}"),
        )  # fmt: skip
    producer.flush()
    return places[-1]


@pytest.mark.slow
def test_the_readme_leaves_what_it_says(shell: Shell) -> None:
    data = shell.folder / "nextreel-data"
    assert (data / "exports/final_recommendations.csv").read_text("utf-8").count("\n") > 10_000
    assert (data / "exports/star").is_dir()
    assert (data / "powerbi/nextreel.pbip").exists()


@pytest.mark.slow
@pytest.mark.parametrize("line", SENTENCES)
def test_a_command_of_a_sentence_runs(shell: Shell, line: str) -> None:
    (shell.folder / "people.csv").write_text("id,genres\np1,Drama\n", "utf-8")
    shell.type(line)


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(FOLLOWED.keys() - {FIRST}, key=lambda page: (page == LAST, page)))
def test_a_page_is_followed(shell: Shell, page: str) -> None:
    if not shutil.which("curl") and any(line.startswith("curl ") for line in FOLLOWED[page]):
        pytest.skip("no curl on this machine")
    shell.begin()
    shell.follow(page, [*BEFORE.get(page, []), *FOLLOWED[page]])
    shell.stop()


def test_what_is_run_elsewhere_is_in_its_page_and_the_other_place_is_there() -> None:
    assert [key for key in ELSEWHERE if key[1] not in dict(LINES[key[0]])] == []
    for (page, line), place in ELSEWHERE.items():
        text = (ROOT / place).read_text("utf-8")
        words = [*re.findall(r"(?:\./run|nextreel|pip) ([a-z]+) ?([a-z]*)", line), re.findall(r"--[a-z-]+", line)]
        assert [word for each in words for word in each if word not in text] == [], f"{page}: {line} is not in {place}"
    lines = {line for found in FOLLOWED.values() for line in found}
    assert LASTING.keys() | CODES.keys() <= lines
    assert [line for page, lines in PRINTED.items() for line in lines if line not in FOLLOWED[page]] == []


def test_commands_of_sentences_run_somewhere() -> None:
    run = [line for lines in LINES.values() for line, _ in lines] + [
        line for lines in BEFORE.values() for line in lines
    ]
    run = [re.sub("^nextreel ", "./run ", line) for line in (*run, *SENTENCES, *SENTENCES_ELSEWHERE)]
    named = {re.sub("^nextreel ", "./run ", span) for page in PROSE for span in spans(page.read_text("utf-8"))}
    # No test runs a benchmark, and this is a test; what stands for a value is any.
    named = {re.sub(" [A-Z]+$", "", span) for span in named if not span.startswith(("./run bench ", "./run test "))}
    assert [span for span in sorted(named) if not any(f"{line} ".startswith(f"{span} ") for line in run)] == []
    assert [place for place in SENTENCES_ELSEWHERE.values() if not (ROOT / place).exists()] == []


def test_blocks_of_a_shell_are_found_wherever_they_stand() -> None:
    page = (
        "```sql\nSELECT 1\n```\n\n    ./run train\n\ntext\n\n```json\n{}\n```\n\n```bash\n# first\npip install x\n```\n"
        "<!-- not run: it is far -->\n    # why\n    cd far \\\n      away\n\ntext\n\n    $ ./run status\n    told\n"
        "text\n\n    sudo ./run demo\n    ./run demo\n\ntext\n\n    a table\n"
    )
    assert list(sessions(page)) == [
        (["./run train"], None),
        (["pip install x"], None),
        (["cd far        away"], "it is far"),
        (["./run status"], None),
        (["sudo ./run demo", "./run demo"], None),
    ]
