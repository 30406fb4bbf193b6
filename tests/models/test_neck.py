"""Necks: shapes at any size, and that every level hears of every other."""

import pytest

torch = pytest.importorskip("torch")

from edgecv.models.neck import FPN, PAN  # noqa: E402

CHANNELS = (8, 16, 24)


def maps_of(size_hw: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            2, channels, -(-size_hw[0] // stride), -(-size_hw[1] // stride), generator=generator
        ).requires_grad_()
        for channels, stride in zip(CHANNELS, (8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("size_hw", [(64, 96), (65, 130), (32, 32)])
@pytest.mark.parametrize("kind", ["fpn", "pan"])
def test_keeps_the_resolution_of_each_level(kind: str, size_hw: tuple[int, int]) -> None:
    neck = FPN(CHANNELS, 12) if kind == "fpn" else PAN(CHANNELS, (12, 20, 28), depth=1)
    maps = maps_of(size_hw)
    found = neck(maps)
    widths = (12, 12, 12) if kind == "fpn" else neck.channels
    assert [tuple(x.shape) for x in found] == [
        (2, width, *given.shape[-2:]) for width, given in zip(widths, maps, strict=True)
    ]


def test_extra_levels_halve_the_last() -> None:
    found = FPN(CHANNELS, 12, extra=2)(maps_of((96, 160)))
    assert [tuple(x.shape[-2:]) for x in found] == [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]


def reaches(neck: torch.nn.Module, level: int) -> list[bool]:
    """Return for each map of the backbone whether the output `level` depends on it."""
    maps = maps_of((64, 64))
    slopes = torch.autograd.grad(neck(maps)[level].abs().sum(), maps, allow_unused=True)
    return [slope is not None and bool(slope.any()) for slope in slopes]


def test_a_pyramid_passes_coarse_to_fine_only() -> None:
    neck = FPN(CHANNELS, 12)
    assert reaches(neck, 0) == [True, True, True]
    assert reaches(neck, 2) == [False, False, True]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_path_aggregation_passes_both_ways(level: int) -> None:
    assert reaches(PAN(CHANNELS, (12, 20, 28), depth=1), level) == [True, True, True]
