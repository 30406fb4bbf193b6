"""The committed stubs say what the native modules offer, function by function."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

from edgecv import kernels
from edgecv.kernels import _native

from .emulation import emulated_cuda


@pytest.fixture(scope="module", params=["_native", "_cuda"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each of them; of the second the emulated one, which has the same bindings."""
    return _native if request.param == "_native" else emulated_cuda()


def signatures(stub: str) -> dict[str, list[str]]:
    """Argument names by function."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.parse(stub).body
        if isinstance(node, ast.FunctionDef)
    }


def committed(module: ModuleType) -> str:
    (folder,) = kernels.__path__
    return (Path(folder) / f"{module.__name__.rpartition('.')[2]}.pyi").read_text()


def test_stub_names_everything_that_the_module_has(module: ModuleType) -> None:
    body = ast.parse(committed(module)).body
    constants = {
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    public = {name for name in dir(module) if not name.startswith("_")}
    assert set(signatures(committed(module))) | constants == public


def test_stub_agrees_with_the_generated_one(module: ModuleType) -> None:
    stubgen = pytest.importorskip("nanobind.stubgen")
    generator = stubgen.StubGen(module, recursive=False)
    generator.put(module)
    assert signatures(committed(module)) == signatures(generator.get())
