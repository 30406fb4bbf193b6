"""Results to an MQTT broker, by paho-mqtt."""

import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from edgecv.errors import InputError, MissingDependencyError, OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.per_source import PLACEHOLDER
from edgecv.stream.sinks.records import as_message
from edgecv.stream.sinks.sink import Sink

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_MOST_WAITING = 1000  # messages; about 1 MB
_CLOSE_S = 10.0
_LOOK_S = 0.02
_KEEP_ALIVE_S = 30
_JOIN_S = 0.4
_NO_VERDICT = "no connection yet"


class MqttSink(Sink):
    """Publishes each result as JSON; paho connects, and connects again, in the background.

    Messages of quality of service 1 and 2 wait for the broker, a thousand of them, and come in
    order; those of quality 0 are lost without it.

    Args:
        host: of the broker.
        topic: `{source}` stands for the source's name, whose `/`, `+` and `#` become `_`.
        classes: the model's class names.
        port: 1883, or 8883 with TLS, if None.
        user: for the broker, None for none.
        password: for the broker.
        tls: whether to encrypt, by the system's certificates.
        qos: 0, 1 or 2.
        retain: whether the broker keeps the last message for those who subscribe later.
        notices: where losing and finding the broker is said.

    Raises:
        InputError: if the topic is empty or has a wildcard.
        MissingDependencyError: if paho-mqtt is not installed.

    """

    recovers = True

    def __init__(
        self,
        host: str,
        topic: str,
        classes: Sequence[str],
        *,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
        qos: int = 1,
        retain: bool = False,
        notices: Notices | None = None,
    ) -> None:
        """Check the topic."""
        if not topic or "+" in topic or "#" in topic:
            raise InputError(
                f"`mqtt://{host}`: the topic must not be empty or have `+` or `#`, got `{topic}`. "
                "Write mqtt://host/topic."
            )
        try:
            from paho.mqtt import client as paho  # noqa: PLC0415  # an extra
            from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
        except ImportError as error:
            raise MissingDependencyError(
                "MqttSink: the package `paho-mqtt` is not installed. "
                "Install it with `pip install 'edgecv[mqtt]'`."
            ) from error
        port = port or (8883 if tls else 1883)
        self._name = f"{'mqtts' if tls else 'mqtt'}://{host}:{port}/{topic}"
        self._topic, self._classes, self._notices = topic, tuple(classes), notices
        self._qos, self._retain = qos, retain
        self._reason = _NO_VERDICT
        self._is_connected = self._is_closed = False
        self._hurry = threading.Event()
        # While the gate is closed, messages wait here: paho would send those that it is given
        # between the connection and the broker's welcome before those that it holds already. The
        # writing thread alone publishes when it is open, paho's alone when it is not.
        self._gate = threading.Lock()
        self._is_open = False
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._num_passed = self._num_acknowledged = 0  # on to paho, and from the broker
        self._paho = paho
        self._client: Client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 60)
        if user is not None:
            self._client.username_pw_set(user, password)
        if tls:
            self._client.tls_set()
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(host, port, _KEEP_ALIVE_S)  # notes the address
        # Not paho's own thread: stopping that one waits for as long as the broker is silent.
        self._thread = threading.Thread(
            target=self._client.loop_forever,
            kwargs={"retry_first_connection": True},
            name="paho-mqtt-sink",
            daemon=True,
        )
        self._has_begun = False

    @property
    def name(self) -> str:
        """Broker and topic."""
        return self._name

    def open(self) -> None:
        """Begin to connect, see `Sink`."""
        if not self._has_begun:
            self._has_begun = True
            self._thread.start()

    def write(self, result: StreamResult) -> None:
        """Hand one result to paho, see `Sink`."""
        self.open()
        source = "".join("_" if letter in "/+#" else letter for letter in result.source)
        topic = self._topic.replace(PLACEHOLDER, source or "source")
        message = as_message(result, self._classes)
        if not self._takes(topic, message):
            raise OutputError(
                f"`{self._name}`: the broker takes no messages: {self._reason}. "
                "Check address, user and password, and that it runs."
            )

    def close(self) -> None:
        """Wait until the broker has what was published, see `Sink`."""
        if self._is_closed or not self._has_begun:
            return
        until_s, was_connected = time.monotonic() + _CLOSE_S, self._is_connected
        while self._num_unsent() and time.monotonic() < until_s and not self._hurry.wait(_LOOK_S):
            # The first connection may still be on its way; a broker that is gone is not waited for.
            if not (was_connected or self._is_connected or self._reason == _NO_VERDICT):
                break
        num_lost = self._num_unsent()
        self._end()
        if num_lost:
            raise OutputError(
                f"`{self._name}`: {num_lost} messages did not reach the broker: {self._reason}."
            )

    def discard(self) -> None:
        """Disconnect; what was published is out."""
        if self._has_begun and not self._is_closed:
            self._end()

    def interrupt(self, *, is_final: bool) -> None:
        """Do not wait for the broker, see `Sink`."""
        if is_final:
            self._hurry.set()

    def _num_unsent(self) -> int:
        with self._gate:
            return self._num_passed - self._num_acknowledged + len(self._waiting)

    def _takes(self, topic: str, message: bytes) -> bool:
        """Publish a message or let it wait, in the writing thread; False if neither can be."""
        if self._qos > 0 and self._num_unsent() >= _MOST_WAITING:
            return False
        with self._gate:
            if self._qos > 0 and not self._is_open:
                self._waiting.append((topic, message))
                return True
            self._num_passed += 1
        # Outside of the lock: paho's thread holds its own when it calls us.
        info = self._client.publish(topic, message, self._qos, self._retain)
        if self._qos > 0 or info.rc == self._paho.MQTT_ERR_SUCCESS:
            return True  # without a connection paho keeps it
        with self._gate:
            self._num_passed -= 1
        return False

    def _open_gate(self) -> None:
        """Publish what waits, in paho's thread; then the writing thread publishes again."""
        while True:
            with self._gate:
                if not self._waiting:
                    self._is_open = True
                    return
                topic, message = self._waiting.popleft()
                self._num_passed += 1
            self._client.publish(topic, message, self._qos, self._retain)

    def _end(self) -> None:
        self._is_closed = True
        self._client.disconnect()
        connection = self._client.socket()
        self._thread.join(_JOIN_S / 2)
        if self._thread.is_alive() and connection is not None:
            with suppress(OSError):  # the broker does not answer, or has closed it just now
                cast("socket.socket", connection).shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_S / 2)  # it may be waiting for its next try, and ends then

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:  # noqa: ANN401
        if reason.is_failure:
            self._reason = f"it refused the connection ({reason})"
            self._say(f"the broker refused the connection ({reason}).")
        else:
            self._is_connected = True
            self._say("connected.")
            if self._num_passed == self._num_acknowledged:  # else paho sends what it holds first
                self._open_gate()

    def _on_connect_fail(self, *_: Any) -> None:  # noqa: ANN401  # paho's signature
        error = sys.exc_info()[1]  # that paho is about to swallow
        why = "" if error is None else f" ({getattr(error, 'strerror', None) or error})"
        reason = f"it cannot be reached{why}"
        if self._reason != reason:
            self._reason = reason
            self._say(f"the broker cannot be reached{why}; it is tried again and again.")

    def _on_disconnect(
        self,
        _client: Any,  # noqa: ANN401
        _data: Any,  # noqa: ANN401
        _flags: Any,  # noqa: ANN401
        reason: Any,  # noqa: ANN401
        _props: Any,  # noqa: ANN401
    ) -> None:
        was_connected, self._is_connected = self._is_connected, False
        with self._gate:
            self._is_open = False
        if was_connected and not self._is_closed:
            self._reason = f"the connection was lost ({reason})"
            self._say(f"the connection was lost ({reason}); it is tried again and again.")

    def _on_publish(self, *_: Any) -> None:  # noqa: ANN401  # paho's signature
        with self._gate:
            self._num_acknowledged += 1
        if not self._is_open:
            self._open_gate()

    def _say(self, text: str) -> None:
        if self._notices is not None:
            self._notices.say(self._name, "sink", f"`{self._name}`: {text}")
