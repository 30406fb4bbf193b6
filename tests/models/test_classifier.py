"""Classifiers of two libraries and LeNet: the network inside is the library's, the head is new."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn.functional import relu  # noqa: E402
from torchvision.models import get_model  # noqa: E402

from edgecv.errors import DownloadError, InputError  # noqa: E402
from edgecv.models import Classifier, build_model, has_imagenet, model_task  # noqa: E402
from edgecv.models.classifier import torchvision_classifiers, usual_input  # noqa: E402
from edgecv.output_spec import LogitsOutput, ProbabilitiesOutput  # noqa: E402

# One of each kind of head and of layers; the large ones are built the same way.
SMALL = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "vgg11",
]
SIZE_HW = (64, 96)


def classifier(name: str, num_classes: int = 3, size_hw: tuple[int, int] = SIZE_HW) -> Classifier:
    torch.manual_seed(0)
    built = build_model(name, num_classes, size_hw)
    assert isinstance(built, Classifier)
    return built


def images(size_hw: tuple[int, int] = SIZE_HW) -> Any:
    return torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(0))


def last_linear(model: nn.Module) -> nn.Linear:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]


@torch.inference_mode()
@pytest.mark.parametrize("name", SMALL)
def test_with_the_librarys_weights_it_is_the_librarys_network(name: str) -> None:
    torch.manual_seed(1)
    theirs = get_model(name, weights=None, num_classes=3).eval()
    ours = classifier(name)
    assert ours.training
    ours.backbone().load(theirs.state_dict(), origin="theirs")
    ours.head.load_state_dict(last_linear(theirs).state_dict())
    (logits,) = ours.eval()(images())
    torch.testing.assert_close(logits, theirs(images()), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_szegedys_networks_see_values_of_the_same_kind_as_others(name: str) -> None:
    torch.manual_seed(1)
    theirs = get_model(name, weights=None, num_classes=3, aux_logits=True, init_weights=True).eval()
    size_hw = (96, 112)
    ours = classifier(name, size_hw=size_hw)
    ours.backbone().load(theirs.state_dict(), origin="theirs")  # that of the aux heads is left
    ours.head.load_state_dict(theirs.fc.state_dict())
    # Normalised by ImageNet's statistics outside, ours sees what theirs sees at mean = std = 0.5.
    usual = usual_input("resnet18")
    mean, std = (torch.tensor(values)[:, None, None] for values in (usual.mean, usual.std))
    pixels = torch.rand(2, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    (logits,) = ours.eval()((pixels - mean) / std)
    torch.testing.assert_close(logits, theirs((pixels - 0.5) / 0.5), rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_squeezenets_head_is_its_last_convolution_without_the_relu() -> None:
    torch.manual_seed(1)
    theirs = get_model("squeezenet1_1", weights=None, num_classes=3).eval()
    ours = classifier("squeezenet1_1")
    ours.backbone().load(theirs.state_dict(), origin="theirs")
    last = theirs.classifier[1]
    ours.head.weight.copy_(last.weight.flatten(1))
    ours.head.bias.copy_(last.bias)
    found = last(theirs.features(images()))  # of each place, before the ReLU
    (logits,) = ours.eval()(images())
    torch.testing.assert_close(logits, found.mean(dim=(2, 3)), rtol=1e-5, atol=1e-5)
    if bool((found >= 0).all()):
        torch.testing.assert_close(logits, theirs(images()), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "size_hw"), [("vit_b_32", (64, 64)), ("swin_t", (64, 96))])
def test_transformers_are_built_for_their_input(name: str, size_hw: tuple[int, int]) -> None:
    (logits,) = classifier(name, size_hw=size_hw).eval()(images(size_hw))
    assert logits.shape == (2, 3)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "size_hw"), [("resnet10t", (64, 96)), ("vit_tiny_patch16_224", (32, 48))]
)
def test_models_of_timm(name: str, size_hw: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm")
    ours = classifier(f"timm:{name}", size_hw=size_hw)
    (logits,) = ours.eval()(images(size_hw))
    options = {"img_size": size_hw} if name.startswith("vit") else {}
    theirs = timm.create_model(name, num_classes=3, **options).eval()
    theirs.load_state_dict(ours.trunk.trunk.state_dict(), strict=False)
    theirs.get_classifier().load_state_dict(ours.head.state_dict())
    torch.testing.assert_close(logits, theirs(images(size_hw)), rtol=1e-5, atol=1e-5)


def test_the_classical_names_are_known() -> None:
    vgg = {f"vgg{depth}" for depth in (11, 13, 16, 19)}
    resnet = {f"resnet{depth}" for depth in (18, 34, 50, 101)}
    assert vgg | resnet | {"alexnet", "googlenet"} <= torchvision_classifiers()
    assert not {"ssd300_vgg16", "fcn_resnet50", "r3d_18"} & torchvision_classifiers()
    assert {model_task(name) for name in ("resnet18", "lenet")} == {"classify"}
    assert (model_task("yolo_n"), model_task("mask_rcnn")) == ("detect", "instance")


def test_an_unknown_name_is_told_of_both_families() -> None:
    message = (
        r"no model `resnet19`\. Choose one of: .*lenet, .*yolo_n.*; for classification also any "
        r"classifier of torchvision, such as resnet18, or timm:NAME .*Did you mean `resnet18`\?"
    )
    with pytest.raises(InputError, match=message) as raised:
        build_model("resnet19", 3, SIZE_HW)
    assert len(str(raised.value)) < 400
    with pytest.raises(InputError, match="no model `qqq`"):
        model_task("qqq")


@pytest.mark.parametrize(
    ("name", "size_hw", "message"),
    [
        ("lenet", (31, 64), r"`lenet` cannot take an input of 31x64: .*Choose another `--size`"),
        ("alexnet", (32, 32), r"`alexnet` cannot take an input of 32x32"),
        ("vit_b_32", (64, 96), r"`vit_b_32` takes square inputs only, got 64x96"),
        ("vit_b_32", (65, 65), r"`vit_b_32`: Input shape indivisible by patch size!"),
        ("maxvit_t", (64, 96), r"`maxvit_t`: Input size .* not divisible by partition size"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(
    name: str, size_hw: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_model(name, 3, size_hw)


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="at least two classes to tell apart, got 1"):
        build_model("lenet", 1, (32, 32))


def test_a_classifier_has_no_choice_of_backbones() -> None:
    with pytest.raises(InputError, match="the model `resnet18` has a backbone of its own"):
        build_model("resnet18", 3, SIZE_HW, backbone="vgg16")


def test_the_loss_is_the_cross_entropy_by_its_definition() -> None:
    model = classifier("lenet", 4, (32, 32)).eval()
    targets = torch.tensor([1, 3])
    losses = model.losses(images((32, 32)), targets)
    probabilities = model(images((32, 32)))[0].double().softmax(dim=1)
    chosen = probabilities[torch.arange(2), targets]
    assert losses.total.item() == pytest.approx(-chosen.log().mean().item(), rel=1e-5)
    model.label_smoothing = 0.1
    smoothed = -(0.9 * chosen.log() + 0.1 * probabilities.log().mean(dim=1)).mean()
    assert model.losses(images((32, 32)), targets).total.item() == pytest.approx(
        smoothed.item(), rel=1e-5
    )
    assert losses.count is None  # a mean over the images
    assert set(losses.parts) == {"cross_entropy"}


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_no_share_of_smoothing_is_refused(share: float) -> None:
    trunk = classifier("lenet", 4, (32, 32)).backbone()
    with pytest.raises(InputError, match=rf"`label_smoothing` must be in \[0, 1\), got {share}"):
        Classifier(trunk, 4, label_smoothing=share)


def test_stages_go_from_the_image_to_the_head() -> None:
    model = classifier("resnet18")
    stages = model.backbone().stages()
    names = {layer: name for name, layer in model.trunk.trunk.named_modules()}
    first, *_, last = ([names[layer] for layer in stage] for stage in stages)
    assert first == ["conv1", "bn1"]
    assert all(name.startswith("layer4") for name in last)
    model.freeze_backbone(trained_stages=1)
    free = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("head", "trunk.trunk.layer4")) for name in free)
    assert "head.weight" in free


def test_what_the_outputs_mean() -> None:
    model = classifier("lenet", 3, (32, 32))
    assert model.output_spec() == LogitsOutput()
    assert model.fused_output() == ProbabilitiesOutput()
    assert model.compiled_part() is model


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("bad checksum")])
def test_a_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(DownloadError, match="weights of resnet18 could not be downloaded"):
        classifier("resnet18").backbone().imagenet_state()


def test_published_weights_fill_the_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    published = get_model("resnet18", weights=None)
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published.state_dict()
    )
    trunk = classifier("resnet18").backbone()
    trunk.load(trunk.imagenet_state(), origin="imagenet")
    assert torch.equal(trunk.trunk.conv1.weight, published.conv1.weight)


def test_lenet_has_no_published_weights() -> None:
    assert has_imagenet("resnet18")
    assert not has_imagenet("lenet")
    assert not has_imagenet("vit_h_14")  # of another data set only
    message = r"no ImageNet weights of lenet.*`--weights none`, or choose another model"
    with pytest.raises(InputError, match=message):
        classifier("lenet", 3, (32, 32)).backbone().imagenet_state()


def test_usual_inputs() -> None:
    assert usual_input("resnet18").size_hw == (224, 224)
    assert usual_input("lenet").size_hw == (32, 32)
    assert usual_input("inception_v3").size_hw == (299, 299)


@torch.inference_mode()
def test_lenet_is_lecuns_network_at_its_size_and_an_average_beyond() -> None:
    model = classifier("lenet", 10, (32, 32)).eval()
    c1, c3, c5, f6 = (
        layer for layer in model.trunk.trunk if isinstance(layer, nn.Conv2d | nn.Linear)
    )

    def squashed(x: Any) -> Any:
        return 1.7159 * torch.tanh(2 / 3 * x)

    def halved(x: Any) -> Any:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    s2 = halved(squashed(c1(images((32, 32)))))
    s4 = halved(squashed(c3(s2)))
    assert (s2.shape[1:], s4.shape[1:]) == ((6, 14, 14), (16, 5, 5))  # figure 2 of the paper
    flat = squashed(s4.flatten(1) @ c5.weight.flatten(1).T + c5.bias)
    expected = model.head(squashed(f6(flat)))
    (logits,) = model(images((32, 32)))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    wide = model.trunk.trunk[:8](images((32, 36)))  # C5 at two places
    assert wide.shape == (2, 120, 1, 2)
    average = model.head(squashed(f6(wide.mean(dim=(2, 3)))))
    torch.testing.assert_close(model(images((32, 36)))[0], average, rtol=1e-5, atol=1e-5)
    assert relu(c1.bias).abs().max() == 0
    assert c1.weight.abs().max() <= 2.4 / 75
