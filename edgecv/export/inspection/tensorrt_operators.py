"""Which ONNX operators TensorRT's parser takes, by version, and on which element types.

The table is `tensorrt_operators.toml`, which names its sources.
"""

import functools
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx_ir as ir

from edgecv.export.graphs.nodes import type_name
from edgecv.export.inspection.operand import Operand, Remark, Version
from edgecv.export.inspection.tensorrt_rules import QUANTISED_TYPES, RULES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLE = Path(__file__).with_name("tensorrt_operators.toml")
_OUTPUT = "output"
_FIRST: tuple[int | str, ...] = (0,)

# The opsets that the parser's documentation names, and those that its ONNX version defines.
_NEWEST_OPSET: tuple[tuple[Version, int], ...] = (((10, 15), 24), ((10, 6), 22), ((10, 0), 20))
_OLDEST_OPSET = 9
_LARGEST_RANK = 8  # nvinfer1::Dims::MAX_DIMS

_COMPUTED = frozenset(
    {"FLOAT", "FLOAT16", "BFLOAT16", "INT32", "INT64", "BOOL"}
)  # what tensors between layers may be
_OF_QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Importer:
    """What the parser takes of an operator.

    Args:
        types: that its data may have, as onnx names them.
        data: indices of the inputs that are its data, `output` for its outputs, or `all` inputs.
        since: the first version that has it.
        later: further types, and the first version that takes them.

    """

    types: frozenset[str]
    data: tuple[int | str, ...] = _FIRST
    since: Version = (10, 0)
    later: tuple[Version, frozenset[str]] | None = None

    def types_in(self, version: Version) -> frozenset[str]:
        """Return the types that a version takes."""
        if self.later is None or version < self.later[0]:
            return self.types
        return self.types | self.later[1]


@functools.cache
def importers() -> Mapping[str, Importer]:
    """Return what the parsers import, by operator."""
    table = _table()

    def members(names: Iterable[str]) -> frozenset[str]:
        sets: Mapping[str, list[str]] = table["names"]
        return frozenset(kind for name in names for kind in sets.get(name, [name]))

    found = {}
    for group in table["operators"]:
        for name in group["names"].split():
            data = table["data"].get(name, _FIRST)
            later = table["later"].get(name)
            found[name] = Importer(
                members(group["types"]),
                (data,) if isinstance(data, str) else tuple(data),
                _version(table["since"].get(name, "10.0")),
                None if later is None else (_version(later["since"]), members(later["types"])),
            )
    return MappingProxyType(found)


def instead_of() -> Mapping[str, str]:
    """Return what to do instead of operators that no version imports."""
    found: Mapping[str, str] = _table()["instead"]
    return found


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


def _version(text: str) -> Version:
    major, minor = text.split(".")
    return int(major), int(minor)


def remarks_on(node: ir.Node, version: Version, opset: int) -> list[Remark]:
    """Return what the parser of TensorRT `version` has against a node of ONNX's own domain."""
    name = node.op_type
    importer = importers().get(name)
    if importer is None:
        remedy = instead_of().get(name, "")
        return [Remark("unsupported", "the parser has no importer for it", remedy)]
    if version < importer.since:
        added = ".".join(map(str, importer.since))
        return [Remark("unsupported", f"the parser has it from TensorRT {added} on")]
    seen = Operand(node, version, opset)
    rule = RULES.get(name)
    found = [] if rule is None else [remark for remark in rule(seen) if remark is not None]
    return found + _types(seen, importer) + _ranks(node)


def remarks_on_opset(opset: int, version: Version) -> list[Remark]:
    """Return what is to be said of the version of the standard operators."""
    newest = next(limit for since, limit in _NEWEST_OPSET if version >= since)
    if opset < _OLDEST_OPSET:
        return [Remark("unsupported", f"the parser reads opsets from {_OLDEST_OPSET} on")]
    if opset > newest:
        reason = f"opset {opset} is newer than what the parser was written for ({newest})"
        return [Remark("limited", reason, f"export with opset {newest} or older")]
    return []


def _types(seen: Operand, importer: Importer) -> list[Remark]:
    """Refuse element types that no layer computes with, or not this one."""
    name, node = seen.node.op_type, seen.node
    allowed = importer.types_in(seen.version)
    kinds = {seen.dtype(index) for index in range(len(node.inputs))}
    kinds |= {value.dtype.name for value in node.outputs if value.dtype is not None}
    kinds.discard("")
    remarks = []
    if "DOUBLE" in kinds:
        remarks.append(Remark("limited", "float64 is computed in float32", "export in float32"))
        kinds.discard("DOUBLE")
    wrong = kinds - _COMPUTED - allowed
    if name in _OF_QUANTISED:
        wrong -= QUANTISED_TYPES | {"UINT8"}  # their own rule speaks of those
    for kind in sorted(wrong):
        reason = f"no layer computes with {kind.lower()}"
        remarks.append(Remark("unsupported", reason, "cast to int32 or float32 before it"))
    data = _data(seen, importer) & _COMPUTED if name not in _OF_QUANTISED else set()
    taken = ", ".join(sorted(_plain(kind) for kind in allowed))
    for kind in sorted(data - allowed):
        reason = f"it takes {taken}, not {_plain(kind)}"
        remarks.append(Remark("unsupported", reason, "cast around it"))
    return remarks


def _data(seen: Operand, importer: Importer) -> set[str]:
    """Return the types of what the operator computes with."""
    kinds = set()
    for place in importer.data:
        if place == _OUTPUT:
            kinds |= {value.dtype.name for value in seen.node.outputs if value.dtype is not None}
        else:
            indices = range(len(seen.node.inputs)) if isinstance(place, str) else (place,)
            kinds |= {seen.dtype(index) for index in indices}
    return kinds


def _plain(kind: str) -> str:
    return type_name(ir.DataType[kind])


def _ranks(node: ir.Node) -> list[Remark]:
    """Refuse tensors of more sides than TensorRT's have."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    ranks = [len(value.shape) for value in values if value.shape is not None]
    largest = max(ranks, default=0)
    if largest <= _LARGEST_RANK:
        return []
    reason = f"a tensor has {largest} sides, and {_LARGEST_RANK} are the most"
    return [Remark("unsupported", reason, "reshape before it")]
