"""What a run starts from: a checkpoint for other classes gives all but what depends on them."""

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgecv.errors import InputError  # noqa: E402
from edgecv.models import Detector, build_model  # noqa: E402
from edgecv.train.checkpoint import load_trained  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.weights import load_weights  # noqa: E402

# The last convolution of each class head: its channels follow the classes.
NEW = re.compile(r"logit_heads\.\d\.1\.(weight|bias)")


def start_from(
    run: Path, classes: tuple[str, ...], **changes: Any
) -> tuple[Detector, dict[str, Any], str]:
    """Return a detector that started from the run, its weights before, and the line about it."""
    settings = {"weights": str(run / "best.pt"), "size_hw": (64, 96)} | changes
    config = TrainConfig("ssd_mobilenetv2", "bccd", **settings)
    torch.manual_seed(7)
    detector = build_model(config.model, len(classes), config.size_hw)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    return detector, before, load_weights(detector, config, classes)


@pytest.mark.parametrize(
    "classes",
    [("cat", "dog"), ("cat", "dog", "bird"), ("disc", "triangle", "square")],
    ids=["fewer", "as many", "in another order"],
)
def test_other_classes_get_a_new_head_and_all_else(
    trained_run: Path, classes: tuple[str, ...]
) -> None:
    stored = load_trained(trained_run / "best.pt").network.state_dict()
    detector, before, line = start_from(trained_run, classes)
    num_new = 0
    for key, value in detector.state_dict().items():
        is_new = NEW.fullmatch(key) is not None
        assert torch.equal(value, before[key] if is_new else stored[key]), key
        num_new += is_new
    assert num_new == 10  # weight and bias of five levels
    assert f"{len(stored) - 10} of {len(stored)} tensors of" in line
    assert line.endswith(f"new for the classes {', '.join(classes)}: logit_heads")


def test_the_same_classes_keep_their_head(trained_run: Path) -> None:
    trained = load_trained(trained_run / "best.pt")
    detector, _, line = start_from(trained_run, trained.spec.classes)
    for key, value in trained.network.state_dict().items():
        assert torch.equal(detector.state_dict()[key], value), key
    assert "new for" not in line


def test_looking_for_the_head_draws_no_random_number(trained_run: Path) -> None:
    start_from(trained_run, ("a", "b", "c"))
    after = torch.rand(3)
    torch.manual_seed(7)
    build_model("ssd_mobilenetv2", 3, (64, 96))
    assert torch.equal(torch.rand(3), after)


def test_a_checkpoint_of_another_model_is_refused(trained_run: Path) -> None:
    weights = str(trained_run / "best.pt")
    config = TrainConfig("ssd_mobilenetv2", "bccd", backbone="resnet18", weights=weights)
    detector = build_model("ssd_mobilenetv2", 2, (64, 96))
    message = r"holds `ssd_mobilenetv2`, and `ssd_mobilenetv2` over `resnet18` is to be trained"
    with pytest.raises(InputError, match=message):
        load_weights(detector, config, ("a", "b"))


def test_a_checkpoint_for_other_pixel_values_is_refused(trained_run: Path) -> None:
    with pytest.raises(InputError, match=r"--mean 0\.485,0\.456,0\.406 --std 0\.229"):
        start_from(trained_run, ("a", "b"), mean=(0.5,) * 3)


def test_a_checkpoint_of_another_network_is_refused_and_of_another_loss_not(
    trained_run: Path,
) -> None:
    message = r"anchors = n\+m-1, and anchors = all-pairs is another.*`--option anchors=n\+m-1`"
    with pytest.raises(InputError, match=message):
        start_from(trained_run, ("a", "b"), options={"anchors": "all-pairs"})
    options = {"anchors": "n+m-1", "box_loss": "giou"}
    _, _, line = start_from(trained_run, ("a", "b"), options=options)
    assert "new for the classes a, b" in line


def test_no_weights_are_nothing_to_tell(trained_run: Path) -> None:
    detector, before, line = start_from(trained_run, ("a", "b"), weights="none")
    assert line == ""
    for key, value in detector.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_fine_tuning_refuses_what_would_leave_a_part_new(
    trained_run: Path, tmp_path: Path
) -> None:
    changes = {"fake_quantise": "int8-cpu"}
    with pytest.raises(InputError, match="a part of the model would be new"):
        start_from(trained_run, ("cat", "dog"), **changes)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "trunk.pt")
    with pytest.raises(InputError, match="holds the weights of a backbone alone"):
        start_from(trained_run, ("cat", "dog"), weights=str(tmp_path / "trunk.pt"), **changes)
