"""A server that speaks KServe's protocol in a thread of the test, and breaks it when told."""

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

Compute = Callable[[dict[str, Any]], dict[str, Any]]
KINDS = {
    "FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8, "INT32": np.int32,
    "INT64": np.int64, "BOOL": np.bool_,
}  # fmt: skip

# What a fault makes of the first output's description, of the whole JSON and of its length.
_OTHER_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "size": {"parameters": {"binary_data_size": 2348}},
    "shape": {"shape": [-1]},
    "kind": {"datatype": "BF17"},
    "name": {"name": "other"},
}
_OTHER_HEADERS = {"json": b"{!}", "outputs": b"{}", "array": b"[]"}
_OTHER_LENGTHS = {"header": "1000000000", "number": "-1"}


class Server(ThreadingHTTPServer):
    """One model, `model`; `fault` says what is to go wrong with the next inferences."""

    daemon_threads = True

    def __init__(
        self, config: dict[str, Any], metadata: dict[str, Any], compute: Compute, path: Path
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.config, self.metadata, self.compute, self.path = config, metadata, compute, path
        self.fault = ""
        self.connections = 0
        self.requests: list[dict[str, Any]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"triton://127.0.0.1:{self.server_address[1]}/model"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        found = {
            "/v2/models/model": self.server.metadata,
            "/v2/models/model/config": self.server.config,
            "/v2/models/model/versions/3": self.server.metadata,
            "/v2/models/model/versions/3/config": self.server.config,
        }.get(self.path)
        if found is None:
            name = self.path.split("/")[3]
            return self.refuse(404, f"Request for unknown model: '{name}' is not found")
        return self.answer(200, json.dumps(found).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        length = int(self.headers["Inference-Header-Content-Length"])
        request = json.loads(body[:length])
        self.server.requests.append(request | {"path": self.path})
        inputs, at = {}, length
        for each in request["inputs"]:
            size = each["parameters"]["binary_data_size"]
            values = np.frombuffer(body[at : at + size], KINDS[each["datatype"]])
            inputs[each["name"]] = values.reshape(each["shape"])
            at += size
        assert at == len(body)
        if self.server.fault == "refuse":
            return self.refuse(400, "unexpected shape for input")
        if self.server.fault == "fail":
            return self.refuse(500, "out of memory")
        if self.server.fault == "page":
            return self.answer(502, b"<html>Bad Gateway</html>")
        outputs = self.server.compute(inputs)
        said, tensors = [], b""
        for name, value in outputs.items():
            content = np.ascontiguousarray(value).tobytes()
            kind = next(kind for kind, dtype in KINDS.items() if dtype == value.dtype)
            described: dict[str, Any] = {
                "name": name, "datatype": kind, "shape": list(value.shape),
                "parameters": {"binary_data_size": len(content)},
            }  # fmt: skip
            if self.server.fault == "lists":
                described = {**described, "data": value.reshape(-1).tolist(), "parameters": {}}
                content = b""
            said.append(described)
            tensors += content
        return self.spoil(said, tensors)

    def spoil(self, said: list[dict[str, Any]], tensors: bytes) -> None:
        """Answer, with the fault that was asked for."""
        fault = self.server.fault
        said[0] |= _OTHER_DESCRIPTIONS.get(fault, {})
        if fault == "bytes":
            tensors = tensors[:-4]
        elif fault == "more":
            tensors += b"more"
        header = json.dumps({"outputs": said}).encode()
        header = _OTHER_HEADERS.get(fault, header)
        length = _OTHER_LENGTHS.get(fault, str(len(header)))
        self.answer(200, header + tensors, {"Inference-Header-Content-Length": length})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        fault = self.server.fault
        if fault in ("drop", "garbage", "stall"):
            return self.break_off(fault)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if fault == "goodbye":
            self.send_header("Connection", "close")
        self.end_headers()
        if fault == "trickle":
            for byte in body:
                if self.server.released.wait(0.02):
                    break
                self.wfile.write(bytes([byte]))
            return None
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        # Without a word, as servers do with connections that have been idle for long.
        self.close_connection = self.close_connection or fault in ("cut", "hang up")
        return None

    def break_off(self, fault: str) -> None:
        self.close_connection = True
        if fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "garbage":
            self.wfile.write(b"\x00\x01 what?\r\n\r\n")
        else:
            self.server.released.wait(60)

    def refuse(self, status: int, words: str) -> None:
        self.answer(status, json.dumps({"error": words}).encode())
