"""The embedded broker: on loopback only, and gone with whoever started it."""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, NewTopic
from tests.processes import listening, tree
from tests.waiting import until

from nextreel import cli
from nextreel.errors import BrokerError, KafkaError
from nextreel.kafka.broker import embedded_broker, is_free


def children() -> set[psutil.Process]:
    return set(tree(os.getpid())[1:])


def port_of(bootstrap: str) -> int:
    return int(bootstrap.rpartition(":")[2])


def test_it_listens_on_loopback_only_and_ends_with_the_block() -> None:
    before = children()
    with embedded_broker() as bootstrap:
        (process,) = children() - before
        assert {address for address, _ in listening([process])} == {"127.0.0.1"}
        assert ("127.0.0.1", port_of(bootstrap)) in listening([process])
        assert AdminClient({"bootstrap.servers": bootstrap}).list_topics().topics == {}
        assert not is_free(port_of(bootstrap))
    assert not process.is_running()
    assert is_free(port_of(bootstrap))


def test_it_ends_when_the_block_fails() -> None:
    before = children()
    with suppress(ZeroDivisionError), embedded_broker():
        (process,) = children() - before
        _ = 1 / 0
    assert not process.is_running()


def test_it_takes_the_port_that_it_is_given() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with embedded_broker(port) as bootstrap:
        assert bootstrap == f"127.0.0.1:{port}"


def test_two_of_them_share_nothing(bootstrap: str) -> None:
    with embedded_broker() as other:
        first, second = (AdminClient({"bootstrap.servers": address}) for address in (bootstrap, other))
        (made,) = second.create_topics([NewTopic("only-here", 1, 1)]).values()
        made.result(20)
        assert "only-here" in second.list_topics().topics
        assert "only-here" not in first.list_topics().topics


def test_a_taken_port_is_an_error_that_names_it() -> None:
    before = children()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(BrokerError, match=f"port {port} of 127.0.0.1 is taken"), embedded_broker(port):
            pass
    assert children() == before


def test_another_broker_on_the_port_is_not_taken_for_ours(bootstrap: str) -> None:
    with pytest.raises(BrokerError, match="is taken"), embedded_broker(port_of(bootstrap)):
        pass
    assert issubclass(BrokerError, KafkaError)


def test_a_port_is_free_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EADDRNOTAVAIL])
def test_a_port_that_may_not_be_used_is_not_called_taken(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: socket.socket, __: tuple[str, int]) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(BrokerError, match=f"port 80 of 127.0.0.1 cannot be used: {os.strerror(number)}"):
        is_free(80)


@pytest.mark.parametrize("port", ["70000", "65536", "-1", "http"])
def test_a_number_that_is_no_port_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging.getLogger(), "addFilter", lambda _: None)
    answer = CliRunner().invoke(cli.main, ["broker", "--port", port])
    assert answer.exit_code == 2
    assert "Invalid value for '--port'" in answer.stderr


def test_beside_one_at_kafkas_own_port_it_says_whom_commands_ask() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # then there is one already
            other.bind(("127.0.0.1", 9092))
            other.listen()
        command, pipe = [sys.executable, "-m", "nextreel", "broker"], subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as running:
            assert running.stdout is not None
            assert running.stdout.readline().startswith("listening on 127.0.0.1:")
            running.terminate()
            assert running.stderr is not None
            assert "port 9092 is taken: commands that are not told of this broker ask" in running.stderr.read()


PARENT = """
import psutil, time
from nextreel.kafka.broker import embedded_broker
with embedded_broker() as bootstrap:
    (child,) = psutil.Process().children()
    print(child.pid, bootstrap, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent(end: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, address = parent.stdout.readline().split()
        broker = psutil.Process(int(pid))
        assert broker.is_running()
        os.kill(parent.pid, end)
        parent.wait()
    until(lambda: is_free(port_of(address)))
