"""A model of a Triton Inference Server, as a session."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError, ServerError, SpecError
from edgecv.output_spec import FusedOutput
from edgecv.runtime.graph_checks import check_names
from edgecv.runtime.kserve import KServeClient, RefusedError
from edgecv.runtime.session import Outputs, filled, input_shape, no_proposals
from edgecv.spec import METADATA_KEY, ModelSpec

_URL = re.compile(
    r"triton:/+(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+)(?::(?P<port>\d{1,5}))?"
    r"/(?P<model>[^\s/]+)(?:/(?P<version>\d+))?/?"
)
_PORT = 8000  # Triton's own choice for HTTP
_LAST_PORT = 65535
_DATATYPES = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}


class TritonSession:
    """A model on a server, see `edgecv.runtime.session.Session`; threads may share it.

    The server's configuration of the model carries its description, as the string parameter
    `edgecv.spec` (`edgecv.export.triton_config` writes it).

    Args:
        url: `triton://host:port/model`, or `…/model/version`; the port is 8000 if none is given.
        device: `auto`: the server decides on what it computes.
        threads: 0, likewise.
        timeout_s: how long a request may take.

    Raises:
        InputError: if the address is none, a device is chosen, or the server has no such model, or
            none that is ready.
        SpecError: if the model's configuration carries no usable description.
        ServerError: if nobody answers there, or somebody who does not speak the protocol.

    """

    def __init__(
        self, url: Path | str, device: str = "auto", *, threads: int = 0, timeout_s: float = 30.0
    ) -> None:
        """Ask the server for the model."""
        found = _URL.fullmatch(str(url))
        port = int(found["port"] or _PORT) if found else 0
        if found is None or not 1 <= port <= _LAST_PORT:
            raise InputError(
                f"`{url}` is no address of a model. It is `triton://HOST:PORT/MODEL`, such as "
                "`triton://localhost:8000/yolo`."
            )
        if device != "auto" or threads:
            raise InputError(
                f"`{url}`: the server decides on what it computes, got device {device!r} and "
                f"{threads} threads. Leave both out."
            )
        self._client = KServeClient(found["host"].strip("[]"), port, timeout_s=timeout_s)
        self._name = found["model"]
        self._path = f"/v2/models/{quote(found['model'], safe='')}"
        self._path += f"/versions/{found['version']}" if found["version"] else ""
        self.backend = f"triton {self._client.address}/{found['model']}"
        self._is_closed = False
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        where = self.backend
        try:
            config = self._client.read_json(f"{self._path}/config")
            metadata = self._client.read_json(self._path)
        except RefusedError as refusal:
            raise InputError(
                f"`{self._name}` cannot be used: {refusal}. Load it there, or check its name."
            ) from refusal
        try:
            spec = ModelSpec.from_json(_description(config, where))
            inputs = _shapes(metadata, "inputs")
            outputs = _shapes(metadata, "outputs")
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ServerError(
                f"{where}: the server's answer on the model is not understood ({error!r}). Check "
                "the server's version."
            ) from error
        if isinstance(spec.output, FusedOutput):
            score, iou = (
                name if name in inputs else None  # what the server does not take, it has fixed
                for name in (spec.output.score_threshold, spec.output.iou_threshold)
            )
            output = replace(spec.output, score_threshold=score, iou_threshold=iou)
            spec = replace(spec, output=output)
        check_names(where, spec, set(inputs), set(outputs))
        self.spec = spec
        self._inputs = inputs
        self._outputs = tuple(outputs)
        self._check_input()

    def _check_input(self) -> None:
        """Refuse a description of an input that the server's own contradicts."""
        wanted = self.spec.input
        kind, shape = self._inputs[wanted.name]
        own = (None, *input_shape(wanted))
        is_fitting = len(shape) == len(own) and all(
            side in (expected, -1) for side, expected in zip(shape[1:], own[1:], strict=True)
        )
        if kind != _DATATYPES[wanted.dtype] or not is_fitting:
            raise InputError(
                f"{self.backend}: the description says {_DATATYPES[wanted.dtype]} "
                f"[B, {', '.join(map(str, own[1:]))}], but the server's `{wanted.name}` is {kind} "
                f"{list(shape)}. Write its configuration again."
            )
        self._batch_size = shape[0] if shape[0] > 0 else None

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network on the server, see `edgecv.runtime.session.Session.run`.

        Raises:
            InputError: if the server refuses the batch.
            ServerError: if it does not answer, or not in time, or something else.

        """
        if self._is_closed:
            raise ValueError("TritonSession.run: the session is closed. Open it again.")
        num_images = len(batch)
        images = filled(batch, self._batch_size)
        rows = len(images)
        feeds: dict[str, NDArray[Any]] = {self.spec.input.name: images}
        if self.spec.proposals is not None and proposals is not None:
            feeds[self.spec.proposals.name] = filled(proposals, self._batch_size)
        for name, value in (scalars or {}).items():
            _, shape = self._inputs[name]
            # Triton has no scalars: it takes one value a request, or a row of one for each image.
            sides = [rows if side == -1 else side for side in shape]
            feeds[name] = np.full(sides, value, np.float32)
        found = self._client.infer(f"{self._path}/infer", feeds, self._outputs)
        if isinstance(self.spec.output, FusedOutput):  # a column, where the server batches
            name = self.spec.output.num_detections
            found[name] = found[name].reshape(-1)
        return {name: value[:num_images] for name, value in found.items()}

    def warm_up(self) -> None:
        """Run once on an empty input."""
        wanted = self.spec.input
        batch = np.zeros((1, *input_shape(wanted)), wanted.dtype)
        self.run(batch, proposals=no_proposals(self.spec))

    def close(self) -> None:
        """Close the connections; twice does no harm."""
        self._is_closed = True
        self._client.close()


def _description(config: Mapping[str, Any], where: str) -> str:
    parameter = config.get("parameters", {}).get(METADATA_KEY)
    if parameter is None:
        raise SpecError(
            f"the model's configuration has no parameter `{METADATA_KEY}`. Write its config.pbtxt "
            "with `edgecv.export.triton_config`."
        )
    text = parameter["string_value"]
    if not isinstance(text, str):
        raise TypeError(f"`{METADATA_KEY}` of {where} is no string")
    return text


def _shapes(metadata: Mapping[str, Any], key: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of the inputs or outputs, -1 for what is free."""
    return {
        str(each["name"]): (str(each["datatype"]), tuple(int(side) for side in each["shape"]))
        for each in metadata[key]
    }
