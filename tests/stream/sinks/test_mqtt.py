"""MQTT against a real broker, mosquitto, that refuses, dies and comes back."""

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import InputError, MissingDependencyError, OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.sinks.mqtt import MqttSink

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]

pytest.importorskip("paho.mqtt")


def heard(text: str) -> tuple[Notices, threading.Event]:
    """Notices, and an event that is set when one of them has a text."""
    notices, event = Notices(), threading.Event()
    notices.listen(lambda notice: event.set() if text in notice.text else None)
    return notices, event


class Broker:
    def __init__(
        self,
        folder: Path,
        *,
        password: bool = False,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("needs mosquitto: apt install mosquitto")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.program = program
        self.config = folder / "mosquitto.conf"
        access = "allow_anonymous true\n"
        if password:
            access = f"allow_anonymous false\npassword_file {folder / 'none'}\n"
            (folder / "none").touch()
        if certificate is not None:
            access += f"certfile {certificate[0]}\nkeyfile {certificate[1]}\n"
        self.config.write_text(f"listener {self.port} 127.0.0.1\n{access}user root\n")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-c", str(self.config)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "running" in line:
                break

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def received(broker: Broker) -> Iterator["queue.Queue[Any]"]:
    """What a subscriber to everything gets."""
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    messages: queue.Queue[Any] = queue.Queue()
    is_subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: messages.put(message)
    client.on_subscribe = lambda *_: is_subscribed.set()
    client.on_connect = lambda *_: client.subscribe("#", 2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert is_subscribed.wait(10)
    yield messages
    client.disconnect()
    client.loop_stop()


def test_a_message_a_result(
    broker: Broker, received: "queue.Queue[Any]", result: MakeResult
) -> None:
    notices = Notices()
    with MqttSink(
        "127.0.0.1", "site/{source}", CLASSES, port=broker.port, qos=2, notices=notices
    ) as sink:
        for index in range(20):
            sink.write(result(index, source="gate/1+#"))
    messages = [received.get(timeout=10) for _ in range(20)]
    assert {message.topic for message in messages} == {"site/gate_1__"}
    records = [json.loads(message.payload) for message in messages]
    assert [record["frame"] for record in records] == list(range(20))
    assert records[0]["source"] == "gate/1+#"
    assert records[0]["detections"][0]["class"] == "dög"
    assert sink.name == f"mqtt://127.0.0.1:{broker.port}/site/{{source}}"
    assert [notice.text for notice in notices.recent()] == [f"`{sink.name}`: connected."]
    sink.close()


def test_messages_wait_while_the_broker_is_away(
    broker: Broker, received: "queue.Queue[Any]", result: MakeResult
) -> None:
    notices, is_lost = heard("the connection was lost")
    sink = MqttSink("127.0.0.1", "t", CLASSES, port=broker.port, notices=notices)
    sink.write(result(0))
    assert json.loads(received.get(timeout=10).payload)["frame"] == 0
    broker.stop()
    assert is_lost.wait(10)
    for index in range(1, 5):
        sink.write(result(index))
    is_back = threading.Event()
    notices.listen(lambda notice: is_back.set() if "connected." in notice.text else None)
    broker.start()
    assert is_back.wait(10)
    sink.close()  # does not return before the broker has all of them
    assert sink._num_unsent() == 0


def test_order_is_kept_across_a_late_broker(
    broker: Broker, received: "queue.Queue[Any]", result: MakeResult
) -> None:
    """Written without a pause while it connects: nothing overtakes what waited."""
    for turn in range(10):
        with MqttSink("127.0.0.1", "t", CLASSES, port=broker.port, qos=1) as sink:
            for index in range(200):
                sink.write(result(index, source=str(turn)))
        frames = [json.loads(received.get(timeout=10).payload)["frame"] for _ in range(200)]
        assert frames == list(range(200))


def test_a_broker_that_is_not_there(result: MakeResult) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    notices, is_said = heard("cannot be reached")
    sink = MqttSink("127.0.0.1", "t", CLASSES, port=port, notices=notices)
    sink.open()
    assert is_said.wait(10)
    sink.write(result(0))
    with pytest.raises(OutputError, match=r"1 messages did not .*reached \(Connection refused\)"):
        sink.close()


def test_without_a_broker_quality_0_is_an_error_at_once(result: MakeResult) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sink = MqttSink("127.0.0.1", "t", CLASSES, port=port, qos=0)
    with pytest.raises(OutputError, match=r"takes no messages: .*Check address, user and password"):
        sink.write(result(0))
    sink.discard()


def test_more_than_the_queue_holds(result: MakeResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.stream.sinks.mqtt._MOST_WAITING", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and says nothing
        sink = MqttSink("127.0.0.1", "t", CLASSES, port=silent.getsockname()[1])
        given = 0
        with pytest.raises(OutputError, match="takes no messages"):  # noqa: PT012  # which one is not foreseen
            for given in range(10):
                sink.write(result(given))
        assert given >= 3
        sink.interrupt(is_final=True)
        with pytest.raises(OutputError, match="did not reach the broker: no connection yet"):
            sink.close()


def test_a_broker_that_refuses_says_so(tmp_path: Path) -> None:
    broker = Broker(tmp_path, password=True)
    try:
        notices, is_said = heard("refused the connection (Not authorized)")
        sink = MqttSink(
            "127.0.0.1",
            "t",
            CLASSES,
            port=broker.port,
            user="me",
            password="hunter2",  # noqa: S106
            notices=notices,
        )
        sink.open()
        assert is_said.wait(10)
        sink.discard()
        assert "hunter2" not in sink.name + "".join(notice.text for notice in notices.recent())
    finally:
        broker.stop()


# paho leaves a socket to the garbage collector whose server it does not trust: not in this process.
STRANGER = """
import sys, threading
from edgecv.stream.notices import Notices
from edgecv.stream.sinks.mqtt import MqttSink
notices, is_said = Notices(), threading.Event()
notices.listen(lambda notice: is_said.set())
sink = MqttSink("127.0.0.1", "t", (), port=int(sys.argv[1]), tls=True, notices=notices)
sink.open()
assert is_said.wait(30)
sink.discard()
print(notices.recent()[0].text)
"""


def test_by_tls_to_a_broker_that_is_trusted(
    tmp_path: Path,
    certificate: tuple[Path, Path],
    result: MakeResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(tmp_path, certificate=certificate)
    try:
        told = subprocess.run(
            [sys.executable, "-c", STRANGER, str(broker.port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        assert "the broker cannot be reached ([SSL: CERTIFICATE_VERIFY_FAILED] certificate" in told
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        notices = Notices()
        with MqttSink(
            "127.0.0.1", "t", CLASSES, port=broker.port, tls=True, notices=notices
        ) as sink:
            sink.write(result(0))
        assert sink._num_unsent() == 0
        assert notices.recent()[0].text == f"`mqtts://127.0.0.1:{broker.port}/t`: connected."
    finally:
        broker.stop()


@pytest.mark.parametrize("topic", ["", "a/+", "a/#"])
def test_topics_that_nobody_can_publish_to(topic: str) -> None:
    with pytest.raises(InputError, match=r"must not be empty or have `.` or `#`"):
        MqttSink("host", topic, CLASSES)


def test_without_paho(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecv\[mqtt\]'"):
        MqttSink("host", "topic", CLASSES)
