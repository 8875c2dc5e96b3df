"""A small reverse proxy that serves a server under a path prefix, as nginx does with `proxy_pass`."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PREFIX = "/rec"
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


@contextmanager
def proxied(url: str) -> Iterator[str]:
    """Give the address of a proxy before a server; whatever is asked of it outside the prefix is not found."""
    to = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(PREFIX + "/"):
                self.send_error(404)
                return
            own = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
            own |= {"Host": "127.0.0.1", "X-Forwarded-Prefix": PREFIX, "X-Forwarded-For": self.client_address[0]}
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(str(to.hostname), to.port)
            try:
                upstream.request(self.command, self.path[len(PREFIX) :], body or None, own)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OF_ONE_HOP:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while part := answer.read1(65_536):
                    self.wfile.write(part)
                    self.wfile.flush()
            except (
                BrokenPipeError,
                ConnectionResetError,
                http.client.IncompleteRead,
            ):  # the page or the server has gone
                pass
            finally:
                upstream.close()

        do_POST = do_PUT = do_GET  # noqa: N815 (names of the standard library)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        proxy.server_close()
