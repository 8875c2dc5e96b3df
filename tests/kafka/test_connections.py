"""Brokers that restart, connections that are cut, TLS and SASL: what clients do, and what they say."""

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.kafka.proxy import Proxy, certificate, free_port, proxied_broker

from nextreel.errors import KafkaError, SettingsError
from nextreel.ingest.consume import KafkaRange, read_ranges
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topic_ids
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.settings import KafkaSettings, Settings


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy with a broker behind it, which tells clients to connect to the proxy."""
    with proxied_broker() as found:
        yield found


@pytest.fixture
def behind(settings: Settings, proxy: Proxy) -> KafkaSettings:
    kafka = settings.kafka.model_copy(update={"bootstrap": proxy.address})
    create_topics(kafka)
    return kafka


def send(kafka: KafkaSettings, n: int, size: int = 100) -> None:
    producer = EventProducer(kafka)
    producer.send_raw(kafka.users, ((b"k", random.randbytes(size)) for _ in range(n)))  # as large compressed
    producer.flush()


def ends(reader: WatermarkReader, topic: str) -> int:
    return sum(high for _, high in reader.read([topic])[topic].values())


# Cut and refused


def all_of(kafka: KafkaSettings) -> list[KafkaRange]:
    """Return the ranges of everything in the users' topic."""
    marks = WatermarkReader(kafka.client_config).read([kafka.users])[kafka.users]
    return [KafkaRange(kafka.users, p, low, high) for p, (low, high) in marks.items()]


def test_watermarks_after_a_cut(behind: KafkaSettings, proxy: Proxy) -> None:
    reader = WatermarkReader(behind.client_config, patience_seconds=20)
    assert ends(reader, behind.users) == 0
    for sent in (10, 20, 30):
        send(behind, 10)
        assert proxy.cut() > 0
        reader._forget()  # as from time to time: over the connection that was cut
        assert ends(reader, behind.users) == sent


def test_watermarks_wait_for_a_broker_that_refuses(behind: KafkaSettings, proxy: Proxy) -> None:
    send(behind, 10)
    reader = WatermarkReader(behind.client_config, patience_seconds=30)
    ends(reader, behind.users)
    refusing = threading.Thread(target=proxy.refuse, args=(3.0,))
    refusing.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert ends(reader, behind.users) == 10
    assert time.monotonic() - began > 2.0
    refusing.join()


def test_watermarks_wait_as_long_as_they_were_told(behind: KafkaSettings, proxy: Proxy) -> None:
    reader = WatermarkReader(behind.client_config, patience_seconds=2)
    ends(reader, behind.users)
    proxy.refuse()
    began = time.monotonic()
    refused = rf"Kafka at {proxy.address}: .*Connection refused.*, asked for 2 s"
    with pytest.raises(KafkaError, match=refused):
        reader.read([behind.users])
    assert time.monotonic() - began > 1.5


def test_no_answer_is_not_taken_for_an_offset(behind: KafkaSettings, proxy: Proxy) -> None:
    """librdkafka says -1001 every other time that it is cut off at the right moment."""
    for _ in range(12):
        reader = WatermarkReader(behind.client_config, patience_seconds=0.2)
        while not reader._answered:
            with suppress(KafkaError):
                ends(reader, behind.users)
        proxy.refuse()
        with pytest.raises(KafkaError, match=proxy.address):
            reader.read([behind.users])
        proxy.refuse(0.0)


def test_watermarks_wait_for_nobody_who_never_answered(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.kafka.watermarks._SECONDS", 1.0)
    proxy.refuse()
    reader = WatermarkReader({"bootstrap.servers": proxy.address}, patience_seconds=1e6)
    with pytest.raises(KafkaError, match="Connection refused"):
        reader.read(["users"])


def test_a_topic_may_be_unknown_for_a_moment(behind: KafkaSettings) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(behind.client_config)
    reader = WatermarkReader(behind.client_config, patience_seconds=20)
    assert ends(reader, behind.users) == 0
    admin.delete_topics([behind.users])[behind.users].result(20)
    again = threading.Timer(1.0, create_topics, (behind,))
    again.start()
    reader._forget()
    assert ends(reader, behind.users) == 0
    again.join()


def test_a_range_is_read_through_cuts(behind: KafkaSettings, proxy: Proxy) -> None:
    send(behind, 60_000, size=500)
    ranges = all_of(behind)
    before = proxy.connections
    found: list[tuple[int, int]] = []
    for block in read_ranges(behind.client_config, ranges):
        proxy.cut()
        found += zip(block.column("partition").to_pylist(), block.column("offset").to_pylist(), strict=True)
    assert proxy.connections > before + 2
    assert sorted(found) == [(r.partition, offset) for r in ranges for offset in range(r.begin, r.end)]


def test_a_range_is_read_on_when_the_broker_is_back(behind: KafkaSettings, proxy: Proxy) -> None:
    send(behind, 60_000, size=500)
    ranges = all_of(behind)
    blocks = read_ranges(behind.client_config, ranges, patience_seconds=30)
    n = len(next(blocks))
    proxy.refuse(2.0)
    assert n + sum(map(len, blocks)) == 60_000


def test_a_range_is_given_up_in_the_end(behind: KafkaSettings, proxy: Proxy) -> None:
    send(behind, 60_000, size=500)
    ranges = all_of(behind)
    blocks = read_ranges(behind.client_config, ranges, patience_seconds=1.0)
    next(blocks)
    proxy.refuse()
    with pytest.raises(KafkaError, match=r"no answer for 1 s: .*partition \d at offset [\d,]+.*Connection refused"):
        list(blocks)


# TLS


@pytest.fixture
def tls(settings: Settings, tmp_path: Path) -> Iterator[KafkaSettings]:
    """A broker behind TLS, and a client that knows its authority."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    port = free_port()
    with Proxy(f"127.0.0.1:{port}", certificate(tmp_path)) as found, embedded_broker(port, found.address):
        client = {"security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "authority.pem")}
        secret = {name: SecretStr(value) for name, value in client.items()}
        yield settings.kafka.model_copy(update={"bootstrap": found.address, "client": secret})
        found.refuse()


def test_everything_through_tls(tls: KafkaSettings) -> None:
    assert set(create_topics(tls).values()) == {True}
    send(tls, 100)
    assert len(topic_ids(tls.client_config, [tls.users])) == 1
    reader = WatermarkReader(tls.client_config)
    marks = reader.read([tls.users])[tls.users]
    ranges = [KafkaRange(tls.users, p, low, high) for p, (low, high) in marks.items()]
    assert sum(map(len, read_ranges(tls.client_config, ranges))) == 100


Client = Callable[[KafkaSettings], object]


def watermarks(kafka: KafkaSettings) -> None:
    reader = WatermarkReader(kafka.client_config)
    reader.read([kafka.users])


def consume(kafka: KafkaSettings) -> None:
    list(read_ranges(kafka.client_config, [KafkaRange(kafka.users, 0, 0, 1)], patience_seconds=3.0))


def produce(kafka: KafkaSettings) -> None:
    send(kafka, 1)


def ids(kafka: KafkaSettings) -> None:
    topic_ids(kafka.client_config, [kafka.users])


CLIENTS = [watermarks, consume, produce, create_topics, ids]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_broker_of_an_authority_that_is_not_known(
    client: Client, tls: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("watermarks", "topics"):
        monkeypatch.setattr(f"nextreel.kafka.{module}._SECONDS", 1.0)
    monkeypatch.setattr("nextreel.kafka.producer._FLUSH_SECONDS", 1.0)
    (tmp_path / "other").mkdir()
    certificate(tmp_path / "other")
    authority = {"ssl.ca.location": SecretStr(str(tmp_path / "other" / "authority.pem"))}
    with pytest.raises(KafkaError, match="certificate verify failed"):
        client(tls.model_copy(update={"client": tls.client | authority}))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_speaks_no_tls(client: Client, tls: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("watermarks", "topics"):
        monkeypatch.setattr(f"nextreel.kafka.{module}._SECONDS", 1.0)
    monkeypatch.setattr("nextreel.kafka.producer._FLUSH_SECONDS", 1.0)
    with pytest.raises(KafkaError, match=tls.bootstrap):
        client(tls.model_copy(update={"client": {}}))


# SASL


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_takes_sasl_settings_and_tells_no_secret(client: Client, settings: Settings) -> None:
    sasl = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "NO-SUCH",
        "sasl.username": "whoever",
        "sasl.password": "hunter2",
    }
    kafka = settings.kafka.model_copy(update={"client": {name: SecretStr(value) for name, value in sasl.items()}})
    with pytest.raises(SettingsError, match=r"kafka\.client: .*Unsupported SASL mechanism") as caught:
        client(kafka)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(kafka)
