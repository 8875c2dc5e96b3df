"""The whole server, put together: what it serves, its rules, and how it is run."""

import gc
import ipaddress
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from nextreel.errors import SettingsError
from nextreel.insight.dashboard import Dashboard
from nextreel.insight.routes import add_dashboard, pipeline_turns
from nextreel.insight.turns import Turns
from nextreel.pipeline import pipeline
from nextreel.serve.api import make_app
from nextreel.serve.connections import Connections, raise_file_limit
from nextreel.serve.guard import Guard
from nextreel.serve.keys import Keys
from nextreel.serve.protocol import protocol_of
from nextreel.serve.serving import Serving
from nextreel.settings import Settings, url_of

_LOG = logging.getLogger(__name__)

#: So long may requests under way take when the server stops.
_STOP_SECONDS = 5
#: What a client sends ahead of what the server reads, of each connection: requests are small.
_RECEIVE_BYTES = 65_536
#: Python looks for cycles among new objects often, among all, which keeps requests waiting, hardly ever: there are next
#: to none, and `nextreel.serve.serving` looks when models change.
_COLLECT = 10_000, 20, 10_000
#: So long may Python follow events, or load a model, while a request waits to be answered.
_SWITCH_SECONDS = 0.0005


def create_app(settings: Settings) -> FastAPI:
    """Return the server's app, which starts and stops what it serves with itself.

    Raises `SettingsError` for an address that others reach where nobody needs a key.
    """
    raise_file_limit()
    given = settings.serve
    local, keys = is_local(given.host), Keys(settings.keys)
    if not local and not given.without_keys and not keys.needed:
        raise SettingsError(
            f"serve.host is {given.host}, which others may reach, and there are no keys: `nextreel keys add NAME` "
            "makes one. serve.without_keys = true lets anybody do anything."
        )
    if given.without_keys and keys.needed:
        raise SettingsError(
            f"serve.without_keys is set, and {settings.keys} has keys: unset it, or remove the file to let anybody in"
        )
    if given.without_keys:
        _LOG.warning("serve.without_keys: WHOEVER REACHES %s MAY READ AND WRITE EVERYTHING", given.host)
    serving = Serving(settings)
    hosts = {"localhost", "127.0.0.1", "[::1]", given.host.lower(), *(name.lower() for name in given.names)}
    everything = not local and not given.names  # by which name others come, only they know
    guard = Guard(given, keys, set() if everything else hosts, not local and not given.without_keys, serving.metrics)
    app = make_app(serving, guard)
    app.state.closing = threading.Event()
    app.state.connections = Connections(given, serving.metrics)
    parts: list[Serving | Dashboard] = [serving]
    threads: list[Turns] = []
    if given.dashboard:
        dashboard = Dashboard(settings, pipeline(settings))
        turns = Turns(settings.insight.concurrent_questions, settings.insight.waiting_questions)
        looks = pipeline_turns()
        add_dashboard(app, dashboard, app.state.closing, turns, looks)
        parts.append(dashboard)
        threads += [turns, looks]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as cleanup:
            for part in parts:
                cleanup.callback(part.close)
                part.start()
            for each in threads:  # before the parts that their questions ask
                cleanup.callback(each.close)
            yield

    app.router.lifespan_context = lifespan
    return app


def is_local(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens where the settings say. Raises `SettingsError` where it cannot."""
    host, port = settings.serve.host, settings.serve.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # elsewhere it lets another process take the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)  # its connections inherit it
        listening.bind(address)
    except OSError as error:
        raise SettingsError(f"serve.host {host}, serve.port {port}: {error.strerror or error}") from None
    return listening


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve until a signal says to stop."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    _server(app).run(sockets=[listening])


@contextmanager
def in_background(settings: Settings) -> Iterator[str]:
    """Serve in a thread, beside whatever else this process does; gives the server's address."""
    app, listening = create_app(settings), listen(settings)
    server = _server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server", daemon=True)
    thread.start()
    try:
        yield address_of(listening)
    finally:
        server.should_exit = True
        thread.join(2.0 * _STOP_SECONDS)


def address_of(listening: socket.socket) -> str:
    """Return the URL of who listens."""
    host, port = listening.getsockname()[:2]
    return url_of(host, port)


class _Server(uvicorn.Server):
    """Ends streams, which go on for ever, before it waits for requests under way."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.closing.set()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def _server(app: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=protocol_of(app.state.connections),
        ws="none",
        proxy_headers=False,  # nextreel.serve.proxies has rules of its own
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return _Server(config)
