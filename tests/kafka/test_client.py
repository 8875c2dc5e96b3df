"""Clients: what librdkafka does not take is an error of the settings, which names the setting and no value."""

import re
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from nextreel.errors import SettingsError
from nextreel.ingest.consume import KafkaRange, read_ranges
from nextreel.kafka.client import Heard, new_client
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topic_ids
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.settings import KafkaSettings, load

USES: dict[str, Callable[[KafkaSettings], object]] = {
    "topics are created": create_topics,
    "topics are described": lambda kafka: topic_ids(kafka.client_config, ["t"]),
    "watermarks are read": lambda kafka: WatermarkReader(kafka.client_config),
    "events are sent": EventProducer,
    "ranges are read": lambda kafka: list(read_ranges(kafka.client_config, [KafkaRange("t", 0, 0, 1)])),
}
TLS = {"security_protocol": "sasl_ssl", "sasl_mechanism": "PLAIN", "sasl_password": "hunter2"}


def refusal(use: Callable[[KafkaSettings], object], **client: str) -> str:
    flags = {f"kafka.client.{name.replace('_', '.')}": value for name, value in client.items()}
    kafka = load(flags | {"kafka.bootstrap": "127.0.0.1:1"}, {}).kafka
    with pytest.raises(SettingsError) as caught:
        use(kafka)
    return str(caught.value)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_setting_that_does_not_exist(use: Callable[[KafkaSettings], object]) -> None:
    assert refusal(use, **TLS, no_such="1") == (
        'kafka.client.no.such: No such configuration property: "no.such" '
        "(so says librdkafka; its CONFIGURATION.md lists its settings)"
    )


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    ("client", "told"),
    [
        ({"socket_timeout_ms": "hunter2"}, "kafka.client.socket.timeout.ms: Invalid value for"),
        ({"socket_timeout_ms": "12345678"}, "kafka.client.socket.timeout.ms: .* is outside allowed range 10..300000 "),
        ({"socket_timeout_ms": ""}, "kafka.client.socket.timeout.ms: .* cannot be set to empty value"),
        ({"security_protocol": "hunter2"}, "kafka.client.security.protocol: Invalid value for"),
        ({"security_protocol": 'hunter2" for\nx"'}, "kafka.client.security.protocol: Invalid value for"),
        ({"debug": "all,hunter2"}, "kafka.client.debug: Invalid value for"),
        ({"linger_ms": "hunter2"}, "kafka.client.linger.ms: Invalid value for .*queue.buffering.max.ms"),
        ({"default_topic_config": "hunter2"}, "kafka.client.default.topic.config: "),
        ({"security_protocol": "sasl_ssl", "sasl_password": "hunter2"}, "kafka.client: .*SASL mechanism GSSAPI"),
        (
            {"security_protocol": "sasl_ssl", "sasl_mechanism": "PLAIN", "sasl_username": "hunter2"},
            "kafka.client: .*sasl.username and sasl.password must be set",
        ),
        (
            {"security_protocol": "ssl", "ssl_keystore_location": "/no/hunter2", "ssl_keystore_password": "hunter2"},
            "kafka.client: .*ssl.keystore.location: …: .*no such file",
        ),
    ],
)
def test_a_wrong_value_is_not_shown(use: Callable[[KafkaSettings], object], client: dict[str, str], told: str) -> None:
    message = refusal(use, **client)
    assert re.match(told, message)
    assert "hunter2" not in message
    assert "12345678" not in message


def test_what_only_one_kind_of_client_does_not_take() -> None:
    wrong = {"max_poll_interval_ms": "10", "session_timeout_ms": "1000"}
    assert "`max.poll.interval.ms`" in refusal(USES["ranges are read"], **wrong)
    wrong = {"delivery_report_only_error": "true"}
    assert "delivery.report.only.error" in refusal(EventProducer, **wrong)


@pytest.mark.parametrize("kind", [AdminClient, Consumer, Producer])
def test_what_is_not_utf_8(kind: Callable[[dict[str, object]], object]) -> None:
    broken = "hunter\udcff"  # as Python has bytes of the environment that are not UTF-8
    for config, told in (
        ({"bootstrap.servers": broken}, "kafka.bootstrap is not UTF-8"),
        ({"sasl.password": broken}, "kafka.client.sasl.password is not UTF-8"),
        ({broken: "1"}, r"kafka.client.hunter\udcff is not UTF-8"),
    ):
        with pytest.raises(SettingsError) as caught:
            new_client(kind, {"group.id": "test"} | config, Heard())
        assert str(caught.value) == told
