"""Kafka against the cluster that librdkafka can play itself, and against nobody."""

import json
import socket
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec

import pytest

from edgecv.errors import InputError, MissingDependencyError, OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.sinks.kafka import KafkaSink

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]

kafka = pytest.importorskip("confluent_kafka")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_every_message_is_delivered(result: MakeResult) -> None:
    delivered: list[Any] = []
    sink = KafkaSink(
        ["ignored:9092"], "site.{source}", CLASSES, config={"test.mock.num.brokers": 1}
    )
    note = sink._on_delivery

    def watched(error: Any, message: Any) -> None:
        delivered.append(message)
        note(error, message)

    sink._on_delivery = watched  # type: ignore[method-assign]
    for index in range(20):
        sink.write(result(index, source="gate/1"))
    sink.close()
    assert [json.loads(message.value())["frame"] for message in delivered] == list(range(20))
    assert all(message.error() is None for message in delivered)
    assert {(message.topic(), message.key()) for message in delivered} == {
        ("site.gate_1", b"gate/1")
    }
    assert sink.name == "kafka://ignored:9092/site.{source}"


def test_without_brokers_what_was_produced_is_lost_and_said(result: MakeResult) -> None:
    notices = Notices()
    sink = KafkaSink(
        [f"127.0.0.1:{closed_port()}"],
        "t",
        CLASSES,
        notices=notices,
        config={"message.timeout.ms": 100, "linger.ms": 0},
    )
    for index in range(3):
        sink.write(result(index))
    with pytest.raises(OutputError, match=r"3 messages did not reach the brokers: .*Check that"):
        sink.close()
    assert notices.recent()
    assert notices.recent()[0].kind == "sink"


def test_closing_in_a_hurry_counts_what_is_left(result: MakeResult) -> None:
    sink = KafkaSink([f"127.0.0.1:{closed_port()}"], "t", CLASSES)
    sink.write(result(0))
    sink.interrupt(is_final=True)
    with pytest.raises(OutputError, match="1 messages did not reach the brokers"):
        sink.close()


def test_discarding_says_nothing(result: MakeResult) -> None:
    sink = KafkaSink([f"127.0.0.1:{closed_port()}"], "t", CLASSES)
    sink.write(result(0))
    sink.discard()
    sink.close()


def test_a_full_queue_is_an_error(result: MakeResult, monkeypatch: pytest.MonkeyPatch) -> None:
    producer = create_autospec(kafka.Producer, instance=True)
    producer.produce.side_effect = BufferError
    monkeypatch.setattr(kafka, "Producer", lambda _config: producer)
    sink = KafkaSink(["host:9092"], "t", CLASSES)
    with pytest.raises(OutputError, match="10000 messages wait already: the brokers are too slow"):
        sink.write(result(0))
    producer.poll.assert_called_once_with(0)  # makes room for what was delivered meanwhile


@pytest.mark.parametrize(
    ("topic", "config", "message"),
    [
        ("", {}, "the topic is missing. Write kafka://host/topic"),
        ("t", {"nonsense": 1}, 'librdkafka refuses: .*"nonsense"'),
    ],
)
def test_refused(topic: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KafkaSink(["host:9092"], topic, CLASSES, config=config).open()


def test_without_confluent_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecv\[kafka\]'"):
        KafkaSink(["host:9092"], "t", CLASSES)
