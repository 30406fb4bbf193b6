"""Results to a Kafka topic, by confluent-kafka."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecv.errors import InputError, MissingDependencyError, OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.per_source import PLACEHOLDER, file_safe
from edgecv.stream.sinks.records import as_message
from edgecv.stream.sinks.sink import Sink

if TYPE_CHECKING:
    import confluent_kafka

_CLOSE_S = 10.0
_SLICE_S = 0.05
_MOST_WAITING = 10_000  # messages


class KafkaSink(Sink):
    """Produces each result as JSON with the source's name as its key, so that its order is kept.

    librdkafka sends, and tries again for `message.timeout.ms`, in the background; what it gives up
    is an error of the next `write` or of `close`.

    Args:
        servers: `host:port` of one or more brokers.
        topic: `{source}` stands for the source's name.
        classes: the model's class names.
        notices: where losing the brokers is said.
        config: of librdkafka, above ours.

    Raises:
        InputError: if the topic is empty; from `open`, if librdkafka refuses the configuration.
        MissingDependencyError: if confluent-kafka is not installed.

    """

    recovers = True

    def __init__(
        self,
        servers: Sequence[str],
        topic: str,
        classes: Sequence[str],
        *,
        notices: Notices | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the topic."""
        self._name = f"kafka://{','.join(servers)}/{topic}"
        if not topic:
            raise InputError(f"`{self._name}`: the topic is missing. Write kafka://host/topic.")
        try:
            import confluent_kafka as kafka  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise MissingDependencyError(
                "KafkaSink: the package `confluent-kafka` is not installed. "
                "Install it with `pip install 'edgecv[kafka]'`."
            ) from error
        self._kafka = kafka
        self._topic, self._classes, self._notices = topic, tuple(classes), notices
        self._num_failed, self._reason = 0, ""
        self._has_said = False
        self._hurry = threading.Event()
        self._config = {
            "bootstrap.servers": ",".join(servers),
            "enable.idempotence": True,  # no message twice, none out of order
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": _MOST_WAITING,
            "message.timeout.ms": 60_000,
            "error_cb": self._on_error,
            "log_level": 0,  # what it would print is in our notices
            **(config or {}),
        }
        self._producer: confluent_kafka.Producer | None = None

    @property
    def name(self) -> str:
        """Brokers and topic."""
        return self._name

    def open(self) -> None:
        """Begin to connect, see `Sink`."""
        self._opened()

    def _opened(self) -> "confluent_kafka.Producer":
        if self._producer is None:
            try:
                self._producer = self._kafka.Producer(self._config)
            except self._kafka.KafkaException as error:
                raise InputError(f"`{self._name}`: librdkafka refuses: {error}.") from error
        return self._producer

    def write(self, result: StreamResult) -> None:
        """Hand one result to librdkafka, see `Sink`."""
        producer = self._opened()
        topic = self._topic.replace(PLACEHOLDER, file_safe(result.source))
        try:
            producer.produce(
                topic,
                as_message(result, self._classes),
                key=result.source or None,
                on_delivery=self._on_delivery,
            )
        except BufferError:
            reason = self._reason or "the brokers are too slow"
            producer.poll(0)
            raise OutputError(
                f"`{self._name}`: {_MOST_WAITING} messages wait already: {reason}. "
                "Check that the brokers run."
            ) from None
        producer.poll(0)
        self._raise_lost()

    def close(self) -> None:
        """Wait until the brokers have what was produced, see `Sink`."""
        if self._producer is None:
            return
        until_s = time.monotonic() + _CLOSE_S
        while self._producer.flush(_SLICE_S) and time.monotonic() < until_s:
            if self._hurry.is_set():
                break
        num_left = len(self._producer)
        if num_left:
            self._producer.purge()
            self._producer.flush(_SLICE_S)  # delivers the news of what was purged
        self._raise_lost()

    def discard(self) -> None:
        """Give up what waits; what was sent is out."""
        if self._producer is None:
            return
        self._producer.purge()
        self._producer.flush(_SLICE_S)
        self._num_failed = 0

    def interrupt(self, *, is_final: bool) -> None:
        """Do not wait for the brokers, see `Sink`."""
        if is_final:
            self._hurry.set()

    def _raise_lost(self) -> None:
        num_failed, self._num_failed = self._num_failed, 0
        if num_failed:
            raise OutputError(
                f"`{self._name}`: {num_failed} messages did not reach the brokers: "
                f"{self._reason}. Check that they run and have the topic."
            )

    def _on_delivery(self, error: Any, _message: Any) -> None:  # noqa: ANN401  # librdkafka's
        if error is not None:
            self._num_failed += 1
            self._reason = str(error.str())
        else:
            self._has_said = False

    def _on_error(self, error: Any) -> None:  # noqa: ANN401  # librdkafka's
        self._reason = str(error.str())
        if not self._has_said and self._notices is not None:
            self._has_said = True
            self._notices.say(self._name, "sink", f"`{self._name}`: {self._reason}.")
