"""What a run starts from: a classifier's trunk, or a model trained on other classes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgecv.errors import InputError
from edgecv.models import Network, build_model, network_options
from edgecv.records import from_plain
from edgecv.spec import ModelSpec
from edgecv.train.checkpoint import MARK, read_checkpoint
from edgecv.train.config import TrainConfig


def load_weights(
    network: Network,
    config: TrainConfig,
    classes: tuple[str, ...],
    keypoints: tuple[str, ...] = (),
) -> str:
    """Load `config.weights` into `network`, a new model for `classes` and `keypoints`.

    A file with a backbone's weights fills the backbone. A checkpoint of edgecv fills all that fits
    by name and shape; where its classes or keypoints are others, what depends on them stays new.

    Returns:
        What was loaded and what was left new, one line; empty where nothing was loaded.

    Raises:
        InputError: if the file cannot be used.
        DownloadError: if ImageNet's weights cannot be had.

    """
    if config.weights == "none":
        return ""
    backbone = network.backbone()
    if config.weights == "imagenet":
        backbone.load(backbone.imagenet_state(), origin="imagenet")
        return f"weights: ImageNet's for {backbone.name}; all else is new"
    path = Path(config.weights)
    if not path.is_file():
        raise InputError(
            f"`--weights` must be `imagenet`, `none` or a file, got `{config.weights}`, which is "
            "none."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the damaged bytes lead it to
        raise InputError(
            f"`{path}` is not a file of PyTorch weights: {str(error).splitlines()[0]}."
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"`{path}` must hold a state dictionary, got {type(state).__name__}.")
    if MARK in state:
        return _load_checkpoint(network, path, config, classes, keypoints)
    if config.fake_quantise is not None:
        raise InputError(
            f"`{path}` holds the weights of a backbone alone, and `--fake-quantise` fine-tunes a "
            "model that is trained already. Give `--weights` the best.pt of a training."
        )
    backbone.load(state, origin=str(path))
    return f"weights: `{path}` for {backbone.name}; all else is new"


def _load_checkpoint(
    network: Network,
    path: Path,
    config: TrainConfig,
    classes: tuple[str, ...],
    keypoints: tuple[str, ...],
) -> str:
    contents = read_checkpoint(path)
    theirs = from_plain(TrainConfig, contents["config"], where="config")
    spec = ModelSpec.from_json(contents["spec"])
    _refuse_other_model(path, config, theirs)
    state: dict[str, Tensor] = contents["averaged"]
    own = network.state_dict()
    left = [
        key for key, value in own.items() if key not in state or state[key].shape != value.shape
    ]
    counts = len(classes), len(keypoints)
    # As many classes or keypoints, but others: their head fits and would mean something else.
    if spec.classes != classes:
        left += sorted(_changed_by(config, counts, (counts[0] + 1, counts[1])) - set(left))
    if spec.keypoints != keypoints:
        left += sorted(_changed_by(config, counts, (counts[0], counts[1] + 1)) - set(left))
    fitting = {key: state[key] for key in own if key not in left}
    own.update(fitting)  # which keeps the versions of its modules, that some ask for
    network.load_state_dict(own)
    loaded = f"weights: {len(fitting)} of {len(own)} tensors of `{path}`"
    if not left:
        return loaded
    if config.fake_quantise is not None:
        raise InputError(
            f"`{path}` was trained on {', '.join((*spec.classes, *spec.keypoints))}, and "
            f"`{config.data}` holds {', '.join((*classes, *keypoints))}: a part of the model would "
            "be new, and `--fake-quantise` fine-tunes one that is trained already. Train it "
            "without first."
        )
    parts = ", ".join(dict.fromkeys(key.partition(".")[0] for key in left))
    points = f" and the keypoints {', '.join(keypoints)}" if spec.keypoints != keypoints else ""
    return f"{loaded}; new for the classes {', '.join(classes)}{points}: {parts}"


def _refuse_other_model(path: Path, config: TrainConfig, theirs: TrainConfig) -> None:
    ours, found = (config.model, config.backbone), (theirs.model, theirs.backbone)
    if ours != found:
        raise InputError(
            f"`{path}` holds {_name(*found)}, and {_name(*ours)} is to be trained. "
            "Train the same model, or take other `--weights`."
        )
    options, other = (network_options(run.model, run.options) for run in (config, theirs))
    for name, value in options.items():
        if value != other[name]:
            raise InputError(
                f"`{path}` was trained with the option {name} = {other[name]}, and {name} = "
                f"{value} is another network. Give `--option {name}={other[name]}`, or take other "
                "`--weights`."
            )
    if (config.mean, config.std) != (theirs.mean, theirs.std):
        mean, std = (",".join(map(str, values)) for values in (theirs.mean, theirs.std))
        raise InputError(
            f"`{path}` was trained with other `--mean` and `--std` than {config.mean} and "
            f"{config.std}. Give `--mean {mean} --std {std}`."
        )


def _name(model: str, backbone: str | None) -> str:
    return f"`{model}`" if backbone is None else f"`{model}` over `{backbone}`"


def _changed_by(config: TrainConfig, counts: tuple[int, int], others: tuple[int, int]) -> set[str]:
    """Return the names of the tensors whose shape follows the numbers of classes and keypoints."""

    def shapes(num_classes: int, num_keypoints: int) -> dict[str, Any]:
        model = build_model(
            config.model,
            num_classes,
            config.size_hw,
            backbone=config.backbone,
            options=config.options,
            num_keypoints=num_keypoints,
        )
        return {key: value.shape for key, value in model.state_dict().items()}

    with torch.random.fork_rng(devices=[]):
        ours, theirs = shapes(*counts), shapes(*others)
    return {key for key, shape in ours.items() if theirs[key] != shape}
