"""The inference protocol of KServe, version 2, over HTTP with tensors in binary.

Source: https://github.com/kserve/open-inference-protocol (HTTP/REST) and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import http.client
import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, ServerError

_NUMPY_OF = {
    "BOOL": np.dtype("bool"), "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"), "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"), "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
}  # fmt: skip
_NAME_OF = {dtype: name for name, dtype in _NUMPY_OF.items()}
_HEADER_LENGTH = "Inference-Header-Content-Length"

_OK = 200
_CALLERS_FAULT = 4  # hundred
_LARGEST_ANSWER_BYTES = 1 << 30
_PIECE_BYTES = 1 << 18


class RefusedError(InputError):
    """The server understood the request and will not serve it; in its own words."""


class KServeClient:
    """Talks to one server; may be used from several threads, each on a connection of its own.

    Connections are kept and used again. Where the server had closed one that was kept, the request
    goes out a second time on a new one: an inference changes nothing on the server.

    Args:
        host: the server's name or address.
        port: of its HTTP endpoint.
        timeout_s: how long the server may keep silent, and its answer may take to arrive.

    """

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        """Connect to nobody yet."""
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self._host}:{self._port}"

    def read_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object at `path`.

        Raises:
            RefusedError: if the server has none.
            ServerError: if it does not answer, or with something else.

        """
        _, body = self._request("GET", path)
        return self._object(body)

    def infer(
        self, path: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Return the outputs that a model computes of the inputs, by name.

        Args:
            path: of the model's `infer`.
            inputs: by name.
            outputs: the names that are wanted.

        Raises:
            RefusedError: if the server refuses the inputs.
            ServerError: if it does not answer, or not in the protocol.

        """
        arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        header = json.dumps(
            {
                "inputs": [
                    {
                        "name": name,
                        "shape": list(inputs[name].shape),  # contiguity makes a scalar a row
                        "datatype": _NAME_OF[array.dtype],
                        "parameters": {"binary_data_size": array.nbytes},
                    }
                    for name, array in arrays.items()
                ],
                "outputs": [
                    {"name": name, "parameters": {"binary_data": True}} for name in outputs
                ],
            }
        ).encode()
        tensors = [array.reshape(-1).view(np.uint8).data for array in arrays.values()]
        headers = {
            _HEADER_LENGTH: str(len(header)),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(header) + sum(map(len, tensors))),
        }
        said, body = self._request("POST", path, [header, *tensors], headers)
        found = self._tensors(said, body)
        missing = [name for name in outputs if name not in found]
        if missing:
            raise self._wrong(f"it sent no output {', '.join(missing)}")
        return {name: found[name] for name in outputs}

    def close(self) -> None:
        """Close the connections; twice does no harm."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _request(
        self,
        method: str,
        path: str,
        body: Sequence[Any] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[http.client.HTTPMessage, bytes]:
        with self._lock:
            if self._is_closed:
                raise ValueError("KServeClient: the connection is closed. Open it again.")
            used = self._idle.pop() if self._idle else None
        deadline = time.monotonic() + self._timeout_s
        connection = used or self._connection()
        try:
            try:
                response = self._send(connection, method, path, body, headers)
            except ConnectionError:
                if used is None:
                    raise
                connection.close()  # the server had closed what was kept
                connection = self._connection()
                response = self._send(connection, method, path, body, headers)
            content = self._content(connection, response, deadline)
        except TimeoutError as error:
            connection.close()
            raise ServerError(
                f"the server at {self.address} did not answer within {self._timeout_s:g} s "
                f"({method} {path}). See what keeps it, or allow it more time."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ServerError(
                f"the server at {self.address} cannot be reached or broke off: {reason}. Check "
                "the address, and that it is up."
            ) from error
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        if response.status != _OK:
            is_refusal = response.status // 100 == _CALLERS_FAULT
            raise (RefusedError if is_refusal else ServerError)(self._words(response, content))
        return response.headers, content

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Sequence[Any],
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        connection.request(method, path, body=iter(body) if body else None, headers=headers or {})
        return connection.getresponse()

    def _content(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        deadline: float,
    ) -> bytes:
        """Return the body, in pieces so that a trickle does not outlive the deadline."""
        content = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            content += piece
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if len(content) > _LARGEST_ANSWER_BYTES:
                raise http.client.HTTPException("an answer of more than 1 GiB")
            if connection.sock is not None:
                connection.sock.settimeout(left_s)
        if response.length:  # what the header promised and the server did not send
            raise http.client.HTTPException(f"its answer lacks {response.length} bytes")
        response.close()  # of a kept connection: the next answer may come
        return bytes(content)

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._is_closed and connection.sock is not None:
                connection.sock.settimeout(self._timeout_s)
                self._idle.append(connection)
                return
        connection.close()

    def _words(self, response: http.client.HTTPResponse, content: bytes) -> str:
        """Return what the server says of its refusal."""
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            said = None
        words = said.get("error") if isinstance(said, dict) else None
        text = words if isinstance(words, str) else response.reason
        return f"the server at {self.address} answers {response.status}: {text.strip()}"

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            plain = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"what should be JSON is not: {error}") from error
        if not isinstance(plain, dict):
            raise self._wrong(f"what should be a JSON object is {plain!r:.40}")
        return plain

    def _tensors(self, headers: http.client.HTTPMessage, body: bytes) -> dict[str, NDArray[Any]]:
        """Return the tensors of an answer: described in JSON, which their bytes follow."""
        length = headers.get(_HEADER_LENGTH, str(len(body)))
        if not length.isdecimal() or int(length) > len(body):
            raise self._wrong(f"{_HEADER_LENGTH} is {length!r}, of {len(body)} bytes in all")
        at = int(length)
        outputs = self._object(body[:at]).get("outputs")
        if not isinstance(outputs, list):
            raise self._wrong("its answer holds no list of outputs")
        tensors = {}
        for output in outputs:
            name, dtype, shape, size = self._described(output)
            count = math.prod(shape)
            if size is None:
                tensors[name] = self._listed(name, output.get("data"), dtype, shape)
                continue
            if size != count * dtype.itemsize:
                raise self._wrong(f"`{name}` has {size} bytes for {shape} {dtype.name}")
            if at + size > len(body):
                raise self._wrong(f"`{name}` is cut off, {len(body) - at} of {size} bytes")
            # A copy lies where its type may lie, belongs to the caller and can be written.
            tensors[name] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
            at += size
        if at != len(body):
            raise self._wrong(f"{len(body) - at} bytes follow the last output")
        return tensors

    def _described(self, output: object) -> tuple[str, np.dtype[Any], list[int], int | None]:
        """Return name, type, shape and number of bytes of an output, None where it is a list."""
        plain = output if isinstance(output, dict) else {}
        name, kind, shape = (plain.get(key) for key in ("name", "datatype", "shape"))
        parameters = plain.get("parameters") or {}
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else -1
        is_right = (
            isinstance(name, str)
            and kind in _NUMPY_OF
            and isinstance(shape, list)
            and all(type(side) is int and side >= 0 for side in shape)
            and (size is None or (type(size) is int and size >= 0))
        )
        if not is_right:
            raise self._wrong(f"an output is described as {output!r:.80}")
        return str(name), _NUMPY_OF[str(kind)], list(shape or ()), size

    def _listed(
        self, name: str, data: object, dtype: np.dtype[Any], shape: list[int]
    ) -> NDArray[Any]:
        try:
            return np.array(data, dtype).reshape(shape)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._wrong(f"the data of `{name}` are not {shape} {dtype.name}") from error

    def _wrong(self, what: str) -> ServerError:
        return ServerError(
            f"the server at {self.address} does not speak KServe's protocol: {what}. Check the "
            "address and the server's version."
        )
