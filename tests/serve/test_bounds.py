"""What arrives before any key is checked is bounded: raw bytes, sent to a server's own process."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from tests.serve.test_serve_process import Server, server
from tests.waiting import until

from nextreel.settings import Settings

pytestmark = pytest.mark.slow

#: Memory that an attack may take, in bytes.
_GROWTH = 64e6
_QUICK = [
    part
    for name in ("header", "body", "idle", "send")
    for part in ("--set", f"serve.{name}_timeout_seconds={3 if name == 'idle' else 1}")
]
_HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_POST = b"POST /v1/estimates HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"

#: Requests that are refused, and the status of the refusal.
_REFUSED = [
    (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414),
    (_HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    (_HEAD + b"X: y\r\n" * 101 + b"\r\n", 431),
    (_POST + b"Content-Length: 70000\r\n\r\n", 413),
    (_POST + b"Content-Length: 18446744073709551618\r\n\r\n", 400),  # 2 to a parser of 64 bits
    (_HEAD.replace(b"/healthz", b"/v1/users" + b"/titles" * 8_000) + b"\r\n", 414),
    (_HEAD.replace(b"/healthz", b"/v1/users" + b"/titles" * 8_000).replace(b"GET", b"POST") + b"\r\n", 414),
    (b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 262 + b"\r\n\r\n", 400),
    (_POST + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 400),
    (_POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 400),
    (_POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n%b\r\n" % (b"a" * 0x4000) * 5, 413),
    (_POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 200_000, 413),
    (_POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n" + b"X: y\r\n" * 40_000, 413),
    (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    (b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
    (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    (_HEAD + b"Host: evil.example\r\n\r\n", 400),
    (_HEAD + b"X: a\r\n b\r\n\r\n", 400),
    (_HEAD + b"X : a\r\n\r\n", 400),
    (b"GET http://evil.example/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    (b"GET /healthz#part HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    (b"GET /healthz\r\n\r\n", 505),
    (b"GET /healthz HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 505),
    (_POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    (_POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (_POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (_POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
    (_POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
    (_POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nGET ", 400),
    (_POST + b"Expect: a miracle\r\nContent-Length: 2\r\n\r\n{}", 417),
]


@pytest.fixture
def quick(settings: Settings) -> Iterator[Server]:
    """A server without a model, of short time-outs."""
    with server(settings, *_QUICK) as running:
        until(lambda: answers(running))
        yield running


def answers(running: Server) -> bool:
    """Tell whether the server is alive."""
    try:
        return running.get("/healthz")[0] == 200
    except OSError:
        return False


def line(running: Server) -> socket.socket:
    to = urlsplit(running.url)
    return socket.create_connection((str(to.hostname), to.port or 80), timeout=60)


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def sent(connection: socket.socket, data: bytes, times: int) -> None:
    """Send the same again and again, as long as the server takes it."""
    connection.settimeout(2)
    with contextlib.suppress(OSError):
        for _ in range(times):
            connection.sendall(data)
    connection.settimeout(60)


def exchanged(running: Server, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes; return status, headers and body of the one answer that comes before the server closes."""
    with line(running) as connection:
        connection.sendall(data)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    return int(first.split(" ")[1]), headers, body


def refused(running: Server, data: bytes) -> int:
    """Return the status of a refusal, which has the form that every refusal has."""
    status, headers, body = exchanged(running, data)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert int(headers["content-length"]) == len(body)
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    return status


def counted(running: Server, name: str) -> dict[str, float]:
    """Return the values of a metric by reason."""
    _, _, body = exchanged(running, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    samples = [each for each in body.decode().splitlines() if each.startswith(name + "{")]
    return {each.split('"')[1]: float(each.rsplit(" ", 1)[1]) for each in samples}


@contextlib.contextmanager
def memory_held(running: Server) -> Iterator[None]:
    """Hold the memory and the health of a server against what is done meanwhile."""
    process = psutil.Process(running.process.pid)
    before = process.memory_info().rss
    yield
    assert answers(running)
    assert process.memory_info().rss - before < _GROWTH


def test_headers_without_end_are_refused(quick: Server) -> None:
    with memory_held(quick), line(quick) as connection:
        connection.sendall(_HEAD)
        sent(connection, b"X-A: b\r\n" * 8_192, 1_500)
        assert answers(quick)
    assert counted(quick, "nextreel_serve_requests_refused_total") == {"too many headers": 1}


def test_a_header_without_end_is_refused(quick: Server) -> None:
    with memory_held(quick), line(quick) as connection:
        connection.sendall(_HEAD + b"X-A: ")
        sent(connection, b"a" * 65_536, 1_500)
        assert answers(quick)
    assert counted(quick, "nextreel_serve_requests_refused_total") == {"headers too large": 1}


def test_requests_whose_answers_are_not_read_wait_in_the_kernel(quick: Server) -> None:
    with memory_held(quick):
        connection = line(quick)
        sent(connection, (_HEAD + b"\r\n") * 1_000, 552)
        assert answers(quick)
        until(lambda: counted(quick, "nextreel_serve_connections_closed_total").get("send time-out"))
        connection.close()


def test_pipelined_requests_are_answered_in_turn(quick: Server) -> None:
    many = 500
    with line(quick) as connection:
        connection.sendall((_HEAD + b"\r\n") * (many - 1) + _HEAD + b"Connection: close\r\n\r\n")
        assert received(connection).count(b'{"status":"ok"}') == many


def test_a_request_is_whole_wherever_it_is_cut(quick: Server) -> None:
    """The end of one request and the beginning of the next come together, in every possible way."""
    whole = _HEAD + b"\r\n"
    last = _HEAD + b"Connection: close\r\n\r\n"
    for cut in range(len(whole) - 4, len(whole) + 5):
        with line(quick) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            both = whole + last
            connection.sendall(both[:cut])
            assert answers(quick)  # the first part has been read
            connection.sendall(both[cut:])
            assert received(connection).count(b'{"status":"ok"}') == 2


def test_what_is_too_large_or_ambiguous_is_refused_as_a_problem(quick: Server) -> None:
    for n, (data, status) in enumerate(_REFUSED, 1):
        assert refused(quick, data) == status, data[:200]
        assert sum(counted(quick, "nextreel_serve_requests_refused_total").values()) == n, data[:200]


@pytest.mark.parametrize("length", [b"0" * 4_400 + b"13", b"13 \t "])
def test_zeros_and_blanks_of_a_length_count_for_nothing(quick: Server, length: bytes) -> None:
    body = b'{"pairs": []}'
    status, _, said = exchanged(quick, _POST + b"Content-Length: " + length + b"\r\n\r\n" + body)
    assert status == 422, "it was read: pairs must not be empty"
    assert "body.pairs" in json.loads(said)["detail"]


def test_names_of_the_server_that_are_made_up_are_not_kept(quick: Server) -> None:
    with memory_held(quick):
        for n in range(1_100):
            with line(quick) as connection:
                request = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: %d" % n
                connection.sendall(request + b"a" * 60_000 + b"\r\n\r\n")
                received(connection)


def test_a_trailer_is_no_header(quick: Server) -> None:
    """Neither of its own request nor of the next one on the connection."""
    trailer = _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nHost: evil.example\r\nX-A: b\r\n\r\n"
    with line(quick) as connection:
        connection.sendall(trailer + _HEAD + b"Connection: close\r\n\r\n")
        found = received(connection)
    assert found.count(b"HTTP/1.1 ") == 2
    assert found.endswith(b'{"status":"ok"}')


def test_an_upgrade_is_answered_as_http_and_ends_the_connection(quick: Server) -> None:
    status, headers, _ = exchanged(
        quick, _HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
    )
    assert (status, headers["connection"]) == (200, "close")


def test_a_whole_url_of_the_own_name_is_a_target(quick: Server) -> None:
    data = b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    assert exchanged(quick, data)[0] == 200


def test_old_clients_are_answered_without_chunks(quick: Server) -> None:
    status, headers, body = exchanged(quick, b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert "transfer-encoding" not in headers
    assert (status, headers["connection"], body) == (200, "close", b'{"status":"ok"}')


def test_a_client_that_waits_for_100_continue_gets_it(quick: Server) -> None:
    with line(quick) as connection:
        connection.sendall(_POST + b"Expect: 100-continue\r\nContent-Length: 12\r\nConnection: close\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"pairs":[]}')
        assert received(connection).startswith(b"HTTP/1.1 ")


def test_a_client_that_closes_its_side_gets_its_answer(quick: Server) -> None:
    with line(quick) as connection:
        connection.sendall(_HEAD + b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert received(connection).endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [(_HEAD + b"X-Slow: ", 408, "header time-out"), (_POST + b"Content-Length: 10\r\n\r\n{", 408, "body time-out")],
)
def test_a_slow_request_is_ended(quick: Server, data: bytes, status: int, reason: str) -> None:
    assert refused(quick, data) == status
    assert counted(quick, "nextreel_serve_requests_refused_total") == {reason: 1}


def test_a_client_that_sends_a_byte_at_a_time_is_ended_all_the_same(quick: Server) -> None:
    with line(quick) as connection:
        connection.settimeout(0.1)
        found = b""
        for byte in _HEAD + b"X" * 1_000:
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                found = connection.recv(1_000)
                break
    assert found.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_without_a_word(quick: Server) -> None:
    with line(quick) as connection:
        assert received(connection) == b""
    with line(quick) as connection:
        connection.sendall(_HEAD + b"\r\n")
        assert received(connection).endswith(b'{"status":"ok"}')
    assert counted(quick, "nextreel_serve_connections_closed_total") == {"idle time-out": 2}


def test_connections_that_say_nothing_keep_nobody_out(settings: Settings) -> None:
    with server(settings, "--set", "serve.max_connections=1000") as running, contextlib.ExitStack() as held:
        until(lambda: answers(running))
        with memory_held(running):
            silent = [held.enter_context(line(running)) for _ in range(1_050)]
            assert [running.get("/healthz")[0] for _ in range(100)] == [200] * 100
        assert counted(running, "nextreel_serve_connections_closed_total")["made room"] >= 50
        assert received(silent[0]) == b""  # the oldest gave way
        silent[-1].sendall(_HEAD + b"\r\n")
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200 ")


def test_connections_that_begin_a_request_keep_nobody_out(settings: Settings) -> None:
    with server(settings, "--set", "serve.max_connections=200") as running, contextlib.ExitStack() as held:
        until(lambda: answers(running))
        with memory_held(running):
            for _ in range(1_000):
                held.enter_context(line(running)).sendall(_HEAD + b"X-A: " + b"a" * 60_000)
            assert [running.get("/healthz")[0] for _ in range(20)] == [200] * 20
        assert counted(running, "nextreel_serve_requests_refused_total")["connections"] >= 800


def test_health_is_told_while_all_connections_are_busy(settings: Settings) -> None:
    stream = b"GET /v1/insight/changes HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with server(settings, "--set", "serve.max_connections=20") as running, contextlib.ExitStack() as held:
        until(lambda: answers(running))
        for _ in range(20):
            busy = held.enter_context(line(running))
            busy.sendall(stream)
            assert busy.recv(100).startswith(b"HTTP/1.1 200 ")
        assert [running.get("/healthz")[0] for _ in range(20)] == [200] * 20
        status, problem = running.get("/v1/popular")
        assert (status, problem["status"]) == (503, 503)
        assert counted(running, "nextreel_serve_requests_refused_total") == {"connections": 1}


def test_health_is_told_while_all_requests_are_taken(settings: Settings) -> None:
    stream = b"GET /v1/insight/changes HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with server(settings, "--set", "serve.max_concurrent_requests=3") as running, contextlib.ExitStack() as held:
        until(lambda: answers(running))
        for _ in range(3):
            busy = held.enter_context(line(running))
            busy.sendall(stream)
            assert busy.recv(100).startswith(b"HTTP/1.1 200 ")
        assert running.get("/healthz")[0] == 200
        status, headers, _ = exchanged(running, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert (status, headers["retry-after"]) == (503, "1")
        assert counted(running, "nextreel_serve_requests_refused_total") == {"requests": 1}


def test_a_page_that_is_never_read_costs_a_buffer(quick: Server) -> None:
    ask = b"GET /static/vendor/echarts.min.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20
    with memory_held(quick), contextlib.ExitStack() as held:
        for _ in range(100):
            connection = held.enter_context(line(quick))
            connection.sendall(ask)
        assert answers(quick)
        until(lambda: counted(quick, "nextreel_serve_connections_closed_total").get("send time-out", 0) >= 100)


def test_a_small_request_that_has_waited_longest_gives_way_to_memory_alone(settings: Settings) -> None:
    with server(settings) as running, contextlib.ExitStack() as held:
        until(lambda: answers(running))
        oldest = held.enter_context(line(running))
        oldest.sendall(b"GET /hea")
        until(lambda: counted_connections(running) >= 2)
        for _ in range(500):  # 30 MB: more than incomplete requests may hold
            newest = held.enter_context(line(running))
            newest.sendall(_HEAD + b"X-A: " + b"a" * 60_000)
        assert received(oldest).startswith(b"HTTP/1.1 503 ")
        newest.sendall(b"\r\n\r\n")
        assert newest.recv(100).startswith(b"HTTP/1.1 200 ")
        assert counted(running, "nextreel_serve_requests_refused_total")["memory"] <= 501


def counted_connections(running: Server) -> float:
    """Return the number of open connections, that of this question included."""
    _, _, body = exchanged(running, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    samples = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    return float(samples["nextreel_serve_connections"])


def test_a_body_that_does_not_come_after_its_head_is_timed_out(quick: Server) -> None:
    with line(quick) as connection:
        connection.sendall(_POST + b"Content-Length: 10\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 408 ")
