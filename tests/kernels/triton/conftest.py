"""Where the Triton kernels are tested: compiled on a GPU, interpreted on the CPU without one.

tests/conftest.py decides which, before anything imports Triton.
"""

from pathlib import Path

import pytest


def is_interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu" if is_interpreted() else "cuda"


@pytest.hookimpl(tryfirst=True)  # before `-m cuda` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    if not ours or is_interpreted():
        return
    for item in ours:
        if "device" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cuda)
