"""The JARs of Apache Kafka: those of a distribution on this machine, or those that Maven fetches once.

Maven takes its repository, proxies and mirrors from its own settings. What it fetches is kept in the user's cache, or
in the home where the cache cannot be written.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from nextreel.errors import BrokerError
from nextreel.java import find_java
from nextreel.settings import Settings

#: The version that Maven fetches, and that the tests run on.
KAFKA_VERSION = "4.3.1"
#: A broker, and what writes its log.
KAFKA_ARTIFACTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")

_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_SECONDS = 900.0
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>nextreel</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
{dependencies}
</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def kafka_jars(settings: Settings) -> Path | None:
    """Return the folder of Kafka's JARs that is on this machine: the distribution's, else the one fetched before.

    None if neither is there. Raises `BrokerError` if ``kafka.distribution`` names a folder without Kafka's JARs.
    """
    named = settings.kafka.distribution
    if named is not None:
        for folder in (named / "libs", named):
            if any(folder.glob("kafka_2.*.jar")):
                return folder.absolute()
        raise BrokerError(
            f"kafka.distribution is {str(named)!r}, which has no libs/kafka_2.*.jar; it must be the folder of an "
            "unpacked Kafka distribution. Leave it out and Maven fetches Kafka's JARs."
        )
    return next((folder for folder in _jar_folders(settings) if folder.is_dir()), None)


def fetch_kafka_jars(settings: Settings) -> Path:
    """Return the folder of Kafka's JARs, which Maven fetches (44 MB) if they are not on this machine.

    Raises `BrokerError` if they are not and Maven is missing or fails, or if no folder can be written.
    """
    if (found := kafka_jars(settings)) is not None:
        return found
    for folder in _jar_folders(settings):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder.parent, os.W_OK | os.X_OK):
            fetch_jars(KAFKA_ARTIFACTS, folder)
            return folder
    raise BrokerError(f"no folder for Kafka's JARs can be written: {', '.join(map(str, _jar_folders(settings)))}")


def fetch_jars(artifacts: Sequence[str], folder: Path, options: Sequence[str] = ()) -> None:
    """Have Maven copy artifacts (``group:name:version``) and what they need at run time to a folder, whole or not.

    ``options`` are those of Maven's goal ``dependency:copy-dependencies``. Maven compares each file with the checksum
    of its repository and fails if they differ. Raises `BrokerError` if Maven is missing or fails.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            "Apache Kafka is not on this machine: neither kafka.distribution names one, nor is there Maven (mvn on "
            "PATH) to fetch it. Install Maven, or unpack a Kafka distribution and set NEXTREEL_KAFKA_DISTRIBUTION."
        )
    environment = os.environ | {"JAVA_HOME": str(find_java())}
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        pom, libraries = Path(temporary, "pom.xml"), Path(temporary, "libs")
        dependencies = (_DEPENDENCY.format(*map(escape, each.split(":"))) for each in artifacts)
        pom.write_text(_POM.format(dependencies="\n".join(dependencies)), "utf-8")
        command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom), _GOAL]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={libraries}", "-Dstyle.color=never", *options]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_FETCH_SECONDS)
        except subprocess.TimeoutExpired:
            raise BrokerError(f"Maven did not fetch {artifacts[0]} within {_FETCH_SECONDS:.0f} s") from None
        if done.returncode != 0:
            raise BrokerError(f"Maven could not fetch {artifacts[0]}: {_reason(done.stdout + done.stderr)}")
        try:
            libraries.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process fetched them at the same time
                raise


def user_cache() -> Path:
    """Return the user's folder for what can be fetched or made again."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given if os.path.isabs(given) else os.path.expanduser("~/.cache")).absolute()


def _jar_folders(settings: Settings) -> tuple[Path, Path]:
    """Return where fetched JARs may lie: in the user's cache, else in the home."""
    name = f"kafka-{KAFKA_VERSION}"
    return user_cache() / "nextreel" / name, settings.home.absolute() / "kafka" / name


def _reason(output: str) -> str:
    """Return the first of Maven's errors."""
    lines = (line.removeprefix("[ERROR]").strip() for line in output.splitlines() if line.startswith("[ERROR]"))
    return next((line for line in lines if line), "it said nothing")
