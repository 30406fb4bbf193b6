"""The committed stub says what the native module offers, function by function."""

import ast
from pathlib import Path

import pytest

from edgecv import kernels
from edgecv.kernels import _native


def signatures(stub: str) -> dict[str, list[str]]:
    """Argument names by function."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.parse(stub).body
        if isinstance(node, ast.FunctionDef)
    }


def committed() -> dict[str, list[str]]:
    (folder,) = kernels.__path__
    return signatures((Path(folder) / "_native.pyi").read_text())


def test_stub_names_every_function_of_the_module() -> None:
    public = {name for name in dir(_native) if not name.startswith("_")}
    assert set(committed()) == public


def test_stub_agrees_with_the_generated_one() -> None:
    stubgen = pytest.importorskip("nanobind.stubgen")
    generator = stubgen.StubGen(_native, recursive=False)
    generator.put(_native)
    assert committed() == signatures(generator.get())
