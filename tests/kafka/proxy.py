"""A TCP proxy before the broker, which can cut its connections, refuse new ones for a while and speak TLS."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from nextreel.kafka.broker import embedded_broker

LOOPBACK = "127.0.0.1"


class Proxy:
    """Forwards what comes to ``address`` to ``target``: ``host:port`` of a broker which may start later."""

    def __init__(self, target: str, certificate: Path | None = None):
        self._target = target
        self.connections = 0  # made so far
        self._certificate = certificate
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._port = 0
        self._listen()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.refuse()

    def cut(self) -> int:
        """End all connections; tell how many there were."""
        with self._lock:
            ended, self._open = self._open, set()
        for each in ended:
            _end(each)
        return len(ended) // 2

    def refuse(self, seconds: float | None = None) -> None:
        """Cut all connections and take no new ones, for some seconds (None: from now on)."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
        self.cut()
        if seconds is not None:
            time.sleep(seconds)
            self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server((LOOPBACK, self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._connect, args=(client, listener), daemon=True).start()

    def _connect(self, client: socket.socket, listener: socket.socket) -> None:
        host, _, port = self._target.rpartition(":")
        try:
            if self._certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._certificate)
                client = context.wrap_socket(client, server_side=True)
            broker = socket.create_connection((host, int(port)))
        except OSError:
            client.close()
            return
        with self._lock:
            if listener is not self._listener:  # refused meanwhile
                client.close()
                broker.close()
                return
            self.connections += 1
            self._open |= {client, broker}
        for source, sink in ((client, broker), (broker, client)):
            threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with self._lock:
            self._open -= {source, sink}
        _end(source)
        _end(sink)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def proxied_broker() -> Iterator[Proxy]:
    """Run a broker that tells its clients to connect to a proxy; yields the proxy."""
    port = free_port()
    with Proxy(f"{LOOPBACK}:{port}") as found, embedded_broker(port, found.address):
        yield found
        found.refuse()  # the broker would wait for its connections to end


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def certificate(folder: Path) -> Path:
    """Return a file with a key and its certificate for loopback, which is its own authority."""
    path = folder / "broker.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker",
            "-addext", f"subjectAltName=IP:{LOOPBACK}", "-keyout", path, "-out", folder / "authority.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + (folder / "authority.pem").read_bytes())
    return path
