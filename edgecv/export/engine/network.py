"""An ONNX graph as a strongly typed network, and what the parser has against it in plain words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from edgecv.errors import InputError
from edgecv.export.inspection.support import Finding, Target, support
from edgecv.export.operators.edge_nms import DOMAIN

if TYPE_CHECKING:
    import tensorrt as trt

_PROBLEMS_SHOWN = 5
_REMEDIES = {
    "MEM_ALLOC_FAILED": "Close what else uses memory",
    "MODEL_DESERIALIZE_FAILED": "Export the model again",
    "UNSUPPORTED_NODE_DATATYPE": "Export it with another precision",
    "UNSUPPORTED_NODE_DYNAMIC": "Fix the shape: `edgecv export --batch 1 --size HEIGHTxWIDTH`",
    "UNSUPPORTED_NODE_SHAPE": "Fix the shape: `edgecv export --batch 1 --size HEIGHTxWIDTH`",
}
_OTHERWISE = "`edgecv inspect` lists what this version takes"


@dataclass(frozen=True)
class Parsed:
    """A network, and the parser that owns its weights until the engine is built."""

    network: "trt.INetworkDefinition"
    parser: "trt.OnnxParser"


def parsed_network(
    builder: "trt.Builder",
    log: "trt.ILogger",
    model: onnx.ModelProto,
    path: Path,
    *,
    for_dla: bool = False,
) -> Parsed:
    """Return the network of a graph, in the types that the graph has.

    Args:
        builder: of the network.
        log: takes what the parser says.
        model: as `for_tensorrt` returns it.
        path: of the file, for messages and rules.
        for_dla: let the parser write layers as the deep learning accelerator takes them.

    Raises:
        InputError: with a line for each node that the parser refuses, and what to do.

    """
    import tensorrt as trt

    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if for_dla and hasattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA"):
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)
    if not parser.parse(model.SerializeToString(), str(path)):
        known = support(model, path, rules_for(trt.__version__)).findings
        problems = list(_problems(parser, known))
        more = len(problems) - _PROBLEMS_SHOWN
        shown = " ".join(problems[:_PROBLEMS_SHOWN]) + (f" And {more} more." if more > 0 else "")
        raise InputError(f"TensorRT {trt.__version__} cannot read `{path}`: {shown}")
    return Parsed(network, parser)


def rules_for(version: str) -> Target:
    """Return the set of parser rules that speaks for a version; it only words errors."""
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers >= (11, 0):
        return "tensorrt-11"
    return "tensorrt-10.13" if numbers >= (10, 13) else "tensorrt-10.3"


def _problems(parser: Any, known: Sequence[Finding]) -> Iterator[str]:  # noqa: ANN401  # untyped
    """Yield a sentence and a remedy for each error of a parser."""
    if parser.num_errors == 0:
        yield f"it does not say why. {_OTHERWISE}."
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        yield problem_in_words(
            error.node_name(), error.node_operator(), error.code().name, error.desc(), known
        )


def problem_in_words(
    node: str, operator: str, code: str, text: str, known: Iterable[Finding]
) -> str:
    """Return what the parser has against a node, and what to do, in one line.

    Args:
        node: its name, empty if the error is about the file.
        operator: its type.
        code: the name of TensorRT's error code.
        text: TensorRT's words.
        known: what edgecv's rules say of the file.

    """
    place = f"node `{node}` ({operator}): " if operator else ""
    reason = re.sub(r"^In function \w+:\s*(\[\d+\]\s*)?|^\[\d+\]\s*", "", text.strip())
    reason = " ".join(reason.split()).rstrip(".")
    finding = next((one for one in known if one.remedy and node and node in one.nodes), None)
    if finding is not None:
        remedy = finding.remedy[0].upper() + finding.remedy[1:]
        return f"{place}{reason}. {remedy}."
    if code == "UNSUPPORTED_NODE" and f"{DOMAIN}.{operator}" in {one.operator for one in known}:
        return f"{place}{reason}. Load edgecv's plugins with `--plugins`."
    return f"{place}{reason}. {_REMEDIES.get(code, _OTHERWISE)}."
