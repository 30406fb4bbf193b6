"""What a bundle must know of an ONNX file, read without the onnx package.

Protocol buffers are pairs of key and value (https://protobuf.dev/programming-guides/encoding/);
the numbers of the fields are those of onnx.proto (https://github.com/onnx/onnx). Values that are of
no interest, such as weights, are stepped over.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from edgecv.errors import InputError
from edgecv.spec import ModelSpec

DOMAIN = "edgecv"

# Fields of ModelProto, GraphProto, NodeProto, FunctionProto, TensorProto, StringStringEntryProto.
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_FUNCTIONS = 7, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_OP_TYPE, _NODE_DOMAIN = 4, 7
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_TENSOR_DATA_LOCATION, _EXTERNAL = 14, 1
_KEY, _VALUE = 1, 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes of 64 bits, seven at a time


@dataclass(frozen=True)
class OnnxHeader:
    """What an ONNX file says of itself.

    Args:
        spec: its description.
        plugins: operators of domain `edgecv` in its graph that it has no function body for.

    """

    spec: ModelSpec
    plugins: tuple[str, ...]


def read_header(content: bytes, *, path: object) -> OnnxHeader:
    """Return what the ONNX file `content` says of itself.

    Args:
        content: the file.
        path: its name, for messages.

    Raises:
        InputError: if it is no ONNX file, is cut off, or keeps its weights in another file.
        SpecError: if it carries no usable description.

    """
    try:
        metadata, plugins, is_whole = _scan(memoryview(content))
    except (ValueError, IndexError) as error:
        raise InputError(
            f"`{path}` is not an ONNX file, or not a whole one: {error}. Export it again, or check "
            "that it was copied whole."
        ) from error
    if not is_whole:
        raise InputError(
            f"`{path}` keeps its weights in another file, and a bundle's member must be whole. "
            "Export it into one file (`onnx.save(onnx.load(MODEL), OUT)`)."
        )
    return OnnxHeader(ModelSpec.from_metadata(metadata, path=path), plugins)


def _scan(model: memoryview) -> tuple[dict[str, str], tuple[str, ...], bool]:
    """Return the metadata, the operators without a body, and whether all weights are inside."""
    metadata: dict[str, str] = {}
    bodies: set[str] = set()
    used: set[str] = set()
    has_graph, is_whole = False, True
    for field, value in _fields(model):
        if field == _MODEL_METADATA:
            texts = _texts(value, _KEY, _VALUE)
            metadata[texts[_KEY]] = texts[_VALUE]
        elif field == _MODEL_FUNCTIONS:
            bodies |= _own_operator(value, _FUNCTION_NAME, _FUNCTION_DOMAIN)
        elif field == _MODEL_GRAPH:
            has_graph = True
            for part, inner in _fields(_message(value)):
                if part == _GRAPH_NODE:
                    used |= _own_operator(inner, _NODE_OP_TYPE, _NODE_DOMAIN)
                elif part == _GRAPH_INITIALIZER:
                    location = dict(_fields(_message(inner))).get(_TENSOR_DATA_LOCATION)
                    is_whole = is_whole and location != _EXTERNAL
    if not has_graph:
        raise ValueError("it holds no graph")
    return metadata, tuple(sorted(used - bodies)), is_whole


def _own_operator(value: "memoryview | int", name: int, domain: int) -> set[str]:
    """Return the name in a node or a function, where it is one of edgecv's."""
    texts = _texts(value, name, domain)
    return {texts[name]} if texts[domain] == DOMAIN else set()


def _fields(message: memoryview) -> Iterator[tuple[int, "memoryview | int"]]:
    """Yield number and value of each field: an integer of a varint, the bytes of any other."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of wire type {kind} at byte {at}")
        if at + length > len(message):
            raise ValueError(f"a field of {length} bytes at byte {at} reaches past the end")
        yield field, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, seven bits a byte, and where it ends."""
    number = 0
    for index in range(_LONGEST_VARINT):
        byte = message[at + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  # the high bit says that more follow
            return number, at + index + 1
    raise ValueError(f"a number of more than {_LONGEST_VARINT} bytes at byte {at}")


def _texts(value: "memoryview | int", *wanted: int) -> dict[int, str]:
    """Return the strings of a message by field, empty where they are absent."""
    found = dict.fromkeys(wanted, "")
    for field, text in _fields(_message(value)):
        if field in found:
            found[field] = str(_message(text), "utf-8")
    return found


def _message(value: "memoryview | int") -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")  # noqa: TRY004  # of the file
    return value
