"""Lists of backends as they are written, and which of them can run a file here."""

from pathlib import Path

import pytest

from edgecv.errors import InputError
from edgecv.runtime import contenders, onnxruntime
from edgecv.runtime.contenders import Contender, contenders_here, parse_contenders, parse_pair

MODEL = Path("model.onnx")


def test_lists_are_read_and_written_alike() -> None:
    text = "onnxruntime, openvino,openvino:bf16,onnxruntime-tensorrt:fp16"
    found = parse_contenders(text, MODEL)
    assert found == [
        Contender("onnxruntime"),
        Contender("openvino"),
        Contender("openvino", "bf16"),
        Contender("onnxruntime-tensorrt", "fp16"),
    ]
    assert ",".join(map(str, found)) == text.replace(" ", "")


def test_a_single_backend_is_that_of_both() -> None:
    assert parse_pair("auto") == (Contender(), Contender())
    assert parse_pair("onnxruntime,openvino:bf16") == (
        Contender("onnxruntime"),
        Contender("openvino", "bf16"),
    )
    with pytest.raises(InputError, match=r"one or two backends, got 'auto,torch,openvino'"):
        parse_pair("auto,torch,openvino")
    with pytest.raises(InputError, match=r"one of auto, .*, torch, got 'all'"):
        parse_pair("all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onnx", r"must be one of auto, onnxruntime, .*, all, got 'onnx'"),
        ("", r"got ''"),
        ("openvino,", r"got ''"),
        ("onnxruntime,all", r"got 'all'"),
        ("openvino:int8", r"one of fp32, fp16, bf16 behind the colon, got 'openvino:int8'"),
        ("openvino:", r"got 'openvino:'"),
        ("torch,torch", r"names torch twice"),
    ],
)
def test_other_lists_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_contenders(text, MODEL)


def test_all_is_what_can_run_the_file_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(device: str = "auto", path: Path | str = MODEL) -> list[str]:
        return [str(one) for one in parse_contenders("all", Path(path), device)]

    monkeypatch.setattr(onnxruntime, "available_devices", lambda: ["cuda", "cpu"])
    monkeypatch.setattr(onnxruntime, "has_tensorrt", lambda: True)
    monkeypatch.setattr(contenders, "find_spec", lambda _name: None)
    assert named() == ["onnxruntime", "onnxruntime-tensorrt"]
    assert named("cuda") == ["onnxruntime", "onnxruntime-tensorrt"]
    assert named("cpu") == ["onnxruntime"]
    monkeypatch.setattr(onnxruntime, "has_tensorrt", lambda: False)
    assert named() == ["onnxruntime"]
    assert named(path="best.pt") == ["torch"]
    assert named(path="model.engine") == ["tensorrt"]
    assert contenders_here(Path("triton://host:8000/m")) == [Contender()]
    with pytest.raises(InputError, match=r"nothing that is installed runs `model.onnx` on 'npu'"):
        named("npu")


@pytest.mark.parametrize("has_bf16", [False, True])
def test_openvino_is_among_them_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, *, has_bf16: bool
) -> None:
    pytest.importorskip("openvino")
    from edgecv.runtime import openvino

    monkeypatch.setattr(openvino, "has_fast_bf16", lambda: has_bf16)
    monkeypatch.setattr(onnxruntime, "available_devices", lambda: ["cpu"])
    bf16 = [Contender("openvino", "bf16")] * has_bf16
    plain = [Contender("onnxruntime"), Contender("openvino")]
    assert contenders_here(MODEL) == contenders_here(MODEL, "cpu") == plain + bf16
    assert contenders_here(MODEL, "gpu") == [Contender("openvino")]
    assert Contender("openvino") not in contenders_here(MODEL, "cuda")
