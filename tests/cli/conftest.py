"""The command line as a user meets it, in this process: exit code, standard output and error."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgecv.board import energy
from edgecv.board.files import SystemFiles
from edgecv.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def edgecv(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `edgecv` with the given words."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edgecv", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(autouse=True)
def machine_without_meters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the power meters of the machine that tests, which make `bench` seconds longer."""
    monkeypatch.setattr(energy, "SystemFiles", partial(SystemFiles, tmp_path / "no system"))


@pytest.fixture
def refused(edgecv: Run) -> Callable[..., str]:
    """Run `edgecv`, expect bad input, and return the one line that it prints."""

    def run(*words: object, code: int = 2) -> str:
        outcome = edgecv(*words)
        assert outcome.code == code, outcome
        assert outcome.err.startswith("edgecv: ")
        assert outcome.err.count("\n") == 1, outcome.err
        assert "Traceback" not in outcome.err
        return outcome.err

    return run


@pytest.fixture(scope="session")
def foreign_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third-party file in YOLOX's form: 64x64, two classes, always the same one object.

    Its box is centred at (20, 28) of the input and 16 pixels wide and high.
    """
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    cells = 8 * 8 + 4 * 4 + 2 * 2
    head = np.zeros((1, cells, 7), np.float32)
    row, column, stride = 3, 2, 8
    head[0, row * 8 + column] = [0.5, 0.5, np.log(16 / stride), np.log(16 / stride), 0.9, 0.1, 1.0]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
        helper.make_node("Add", ["head", "nothing"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1, cells, 7])],
        [
            numpy_helper.from_array(head, "head"),
            numpy_helper.from_array(np.float32(0), "nought"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("foreign") / "foreign.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def adopted(foreign_onnx: Path) -> Path:
    """The same file with a description."""
    from edgecv.export.adoption.adopt import Preprocessing, adopt

    path = foreign_onnx.with_name("adopted.onnx")
    adopt(foreign_onnx, path, "yolox", ("cat", "dog"), preprocessing=Preprocessing())
    return path
