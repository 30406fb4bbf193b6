"""What is read of an ONNX file without the onnx package, against what that package wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")

import onnx

from edgecv.bundle.onnx_header import read_header
from edgecv.errors import InputError
from edgecv.spec import METADATA_KEY, ModelSpec

Make = Callable[..., Path]


def test_the_description_is_the_one_that_was_written(make_onnx: Make) -> None:
    path = make_onnx(classes=("Katze", "犬"), model="m", precision="int8-cpu")
    model = onnx.load(path)
    written = {entry.key: entry.value for entry in model.metadata_props}
    header = read_header(path.read_bytes(), path=path)
    assert header.spec == ModelSpec.from_json(written[METADATA_KEY])
    assert header.spec.provenance.precision == "int8-cpu"
    assert header.plugins == ()


def test_operators_without_a_body_are_named(make_onnx: Make) -> None:
    path = make_onnx(operator=("edgecv", "EdgeJoin"))
    assert read_header(path.read_bytes(), path=path).plugins == ("EdgeJoin",)
    model = onnx.load(path)
    add = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    body = onnx.helper.make_function(
        "edgecv", "EdgeJoin", ["a", "b"], ["c"], [add], [onnx.helper.make_opsetid("", 17)]
    )
    model.functions.append(body)
    assert read_header(model.SerializeToString(), path=path).plugins == ()


def test_fields_of_every_wire_type_are_stepped_over(make_onnx: Make) -> None:
    content = make_onnx().read_bytes()
    expected = read_header(content, path="x")
    # Field 99 as varint, 64 bits, bytes and 32 bits: a newer onnx may have any.
    unknown = (
        b"\x98\x06\xff\x01" + b"\x99\x06" + bytes(8) + b"\x9a\x06\x02ab" + b"\x9d\x06" + bytes(4)
    )
    assert read_header(unknown + content, path="x") == expected


def test_weights_in_another_file_are_refused(make_onnx: Make, tmp_path: Path) -> None:
    model = onnx.load(make_onnx())
    path = tmp_path / "apart.onnx"
    onnx.save(model, path, save_as_external_data=True, location="apart.bin", size_threshold=0)
    with pytest.raises(InputError, match=r"apart\.onnx` keeps its weights in another file"):
        read_header(path.read_bytes(), path=path)


def test_a_file_without_a_description_is_refused(make_onnx: Make) -> None:
    model = onnx.load(make_onnx())
    del model.metadata_props[:]
    with pytest.raises(InputError, match="edgecv adopt"):
        read_header(model.SerializeToString(), path="x")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no graph"),
        (b"\x08\x08", "holds no graph"),
        (b"PK\x03\x04", "reaches past the end|wire type|out of"),
        (b"\x3a\xff\xff\xff\xff\x0f", "reaches past the end"),
        (b"\x0b", "wire type 3"),
        (b"\x38\x01", "a number where a message"),
        (b"\xff" * 11, "more than 10 bytes"),
    ],
)
def test_what_is_no_onnx_file_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(InputError, match=f"`x` is not an ONNX file.*({why})"):
        read_header(content, path="x")


def test_a_file_that_is_cut_off_is_refused(make_onnx: Make) -> None:
    content = make_onnx().read_bytes()
    refused = 0
    for length in range(0, len(content), 7):
        with pytest.raises(InputError):
            read_header(content[:length], path="x")
        refused += 1
    assert refused > 100


@given(st.binary(max_size=200))
def test_no_bytes_end_in_another_error(content: bytes) -> None:
    with pytest.raises(InputError):
        read_header(content, path="x")
