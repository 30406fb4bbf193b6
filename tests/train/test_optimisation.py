"""Steps of the optimiser: what the averaged weights average, and what they leave alone."""

import pytest

torch = pytest.importorskip("torch")

from edgecv.data.batches import Batch  # noqa: E402
from edgecv.data.targets import Target  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.distributed import Ranks  # noqa: E402
from edgecv.train.optimisation import Optimisation  # noqa: E402


@pytest.mark.parametrize("name", ["ssdlite", "yolo_n"])
def test_constants_stay_what_they_are_in_the_averaged_weights(name: str) -> None:
    """A mean of equal float32 values is not that value after a dozen steps."""
    torch.manual_seed(0)
    detector = build_model(name, 2, (64, 96), backbone="mobilenet_v3_small")
    config = TrainConfig(name, "unused", precision="float32")
    optimisation = Optimisation(detector, config, Ranks(0, 1, torch.device("cpu")))
    optimisation.begin_epoch(None)
    target = Target(torch.tensor([[5.0, 5.0, 40.0, 40.0]]), torch.tensor([1]))
    batch = Batch(torch.randn(2, 3, 64, 96), (target, target))
    for _ in range(12):
        optimisation.step(batch, 1e-2, where="here")
    averaged, stored = optimisation.averaged.module, detector.state_dict()
    constants = {key: value for key, value in detector.named_buffers() if key not in stored}
    assert constants
    copies = dict(averaged.named_buffers())
    for key, value in constants.items():
        assert torch.equal(copies[key], value), key
        assert copies[key] is not value
    weights = averaged.backbone().state_dict()
    moving = detector.backbone().state_dict()
    for kind in ("weight", "running_mean"):  # which are means, and lag behind
        key = next(key for key in weights if key.endswith(kind))
        assert not torch.equal(weights[key], moving[key]), key
