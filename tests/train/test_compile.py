"""`compile`: the network alone is compiled, the weights keep their names."""

import shutil
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from edgecv.data.batches import Batch  # noqa: E402
from edgecv.data.targets import Target  # noqa: E402
from edgecv.models.ssd import SSD, AnchorScheme, ssd_anchor_layers  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.distributed import Ranks  # noqa: E402
from edgecv.train.optimisation import Optimisation  # noqa: E402


class OneMap(nn.Module):
    """As little of a pyramid as the SSD takes: a compiler needs minutes for a real one."""

    channels = (8,)
    strides = (16,)

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=16, padding=1), nn.BatchNorm2d(8))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.trunk(images)]


def optimisation_of(*, compile: bool) -> Optimisation:  # noqa: A002  # the option's name
    torch.manual_seed(0)
    layers = ssd_anchor_layers(AnchorScheme((0.2, 0.5), ((2.0,),)), (16,), (64, 64))
    head = partial(nn.Conv2d, kernel_size=3, padding=1)
    detector = SSD(OneMap(), layers, head, 2, (64, 64))
    config = TrainConfig("unused", "unused", precision="float32", compile=compile)
    optimisation = Optimisation(detector, config, Ranks(0, 1, torch.device("cpu")))
    optimisation.begin_epoch(None)
    return optimisation


@pytest.mark.slow
def test_a_compiled_network_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    from torch._dynamo.utils import counters
    from torch._inductor import config

    monkeypatch.setattr(config, "compile_threads", 1)
    counters.clear()
    generator = torch.Generator().manual_seed(1)
    target = Target(torch.tensor([[5.0, 5.0, 40.0, 40.0]]), torch.tensor([1]))
    batch = Batch(torch.randn(2, 3, 64, 64, generator=generator), (target, target))
    plain, compiled = optimisation_of(compile=False), optimisation_of(compile=True)
    for step in range(2):
        expected = plain.step(batch, 1e-3, where="here")
        assert counters["stats"]["unique_graphs"] == (step > 0)
        assert compiled.step(batch, 1e-3, where="here") == pytest.approx(expected, rel=1e-4)
    assert counters["stats"]["unique_graphs"] == 1
    assert compiled.state()["detector"].keys() == plain.state()["detector"].keys()
