"""What Triton alone has; what all implementations have is in the tests of the folder above."""

from collections.abc import Iterator

import pytest

from ..conftest import PLACES, Place, place_of  # noqa: TID252  # the folder above


@pytest.fixture(scope="session", params=[pytest.param("triton", marks=PLACES["triton"])])
def triton(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Compiled on a GPU, interpreted where there is none."""
    yield from place_of(request.param)
