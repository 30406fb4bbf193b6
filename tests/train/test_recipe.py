"""A recipe is all of a run's settings or some of them, and a run writes one that repeats it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.models import Detector, registry
from edgecv.train.config import TrainConfig
from edgecv.train.recipe import configure, read_recipe, recipe_names, write_config

text = st.text(st.characters(codec="utf-8"), min_size=1)


@given(
    config=st.builds(
        TrainConfig,
        model=text,
        data=text,
        backbone=st.none() | text,
        options=st.just({}),
        learning_rate=st.floats(1e-6, 10),
        unfreeze=st.sampled_from([(), (5,), (1, 20)]),
        compile=st.booleans(),
        seed=st.integers(0, 2**63 - 1),
        time_budget_s=st.none() | st.floats(1, 1e20),
    )
)
def test_what_a_run_writes_configures_it_again(
    config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "config.toml"
    write_config(path, config)
    assert configure(read_recipe(str(path)), {}) == config


def test_changes_go_before_the_recipe_and_defaults_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('model = "ssd300"\ndata = "bccd"\nepochs = 3\nsize_hw = [64, 96]\n')
    config = configure(read_recipe(str(path)), {"epochs": 4, "unfreeze": (1, 2)})
    assert config == TrainConfig("ssd300", "bccd", epochs=4, size_hw=(64, 96), unfreeze=(1, 2))


@pytest.mark.parametrize(
    ("settings", "rate"),
    [({}, 0.3), ({"weights": "none"}, 1.0), ({"weights": "none", "backbone_rate": 0.1}, 0.1)],
)
def test_a_random_backbone_learns_at_the_full_rate(settings: dict[str, Any], rate: float) -> None:
    config = configure({"model": "ssd300", "data": "bccd"}, settings)
    assert config.backbone_rate == rate


@pytest.mark.parametrize(
    ("changes", "weights", "rate"),
    [
        ({}, "none", 1.0),
        ({"backbone": "resnet18"}, "imagenet", 0.3),
        ({"weights": "mine.pt"}, "mine.pt", 0.3),
    ],
)
def test_a_backbone_without_published_weights_starts_from_random_ones(
    changes: dict[str, Any], weights: str, rate: float
) -> None:
    config = configure({"model": "yolo_n", "data": "bccd"}, changes)
    assert (config.weights, config.backbone_rate) == (weights, rate)


def tiny(
    num_classes: int,
    size_hw: tuple[int, int],
    *,
    pooling: Literal["align", "max"] = "align",
    strides: tuple[int, ...] = (8,),
    prior: float = 0.5,
) -> Detector:
    raise NotImplementedError


def test_options_of_the_command_line_change_those_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._BUILDERS, "tiny", tiny)
    path = tmp_path / "recipe.toml"
    path.write_text(
        'model = "tiny"\ndata = "bccd"\n'
        'options = { pooling = "max", prior = 1, strides = [4, 8] }\n'
    )
    config = configure(read_recipe(str(path)), {"options": {"strides": "4,8,16"}})
    assert config.options == {"pooling": "max", "prior": 1.0, "strides": (4, 8, 16)}
    write_config(path, config)
    assert configure(read_recipe(str(path)), {}) == config
    with pytest.raises(InputError, match="must be one of align, max, got 'min'"):
        configure(read_recipe(str(path)), {"options": {"pooling": "min"}})
    with pytest.raises(InputError, match="no option `pool`"):
        configure({"options": {"pool": "max"}}, {"model": "tiny", "data": "bccd"})


def test_the_shipped_recipes_are_whole() -> None:
    assert "ssd_mobilenetv2_bccd" in recipe_names()
    for name in recipe_names():
        configure(read_recipe(name), {})
    config = configure(read_recipe("ssd_mobilenetv2_bccd"), {})
    assert (config.epochs, config.size_hw, config.batch_size) == (50, (288, 384), 8)
    assert config.mean == config.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch = 3", r"unknown key `epoch`\. Did you mean `epochs`\?"),
        ('epochs = "three"', "`epochs` must be a int, got 'three'"),
        ('precision = "float8"', "`precision` must be one of auto, float32"),
        ("epochs = 0", "`epochs` must be at least 1, got 0"),
        ("epochs 3", "is not TOML"),
        ("options = 3", "`options` must be an object, got 3"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        configure(read_recipe(str(path)), {"model": "ssd300", "data": "bccd"})


def test_a_recipe_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"a file or one of .*ssd_mobilenetv2_bccd.*, got `cake`"):
        read_recipe("cake")


@pytest.mark.parametrize("settings", [{}, {"model": "ssd300"}, {"data": "bccd"}])
def test_model_and_data_must_come_from_somewhere(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="needs a model and `--data`"):
        configure(settings, {})


def test_a_fine_tuning_has_the_settings_of_its_checkpoint(trained_run: Path) -> None:
    weights = str(trained_run / "best.pt")
    trained = configure(read_recipe(str(trained_run / "config.toml")), {})
    found = configure({}, {"fake_quantise": "int8-cpu", "weights": weights})
    assert found == replace(
        trained,
        fake_quantise="int8-cpu",
        weights=weights,
        epochs=10,
        learning_rate=0.1 * trained.learning_rate,
        precision="auto",
    )
    recipe = {"epochs": 3, "size_hw": [64, 96], "fake_quantise": "int8-tensorrt"}
    found = configure(recipe, {"weights": weights, "epochs": 2})
    assert (found.epochs, found.size_hw, found.data) == (2, (64, 96), trained.data)


@pytest.mark.parametrize("weights", [None, "imagenet", "none"])
def test_a_fine_tuning_needs_a_checkpoint(weights: str | None) -> None:
    with pytest.raises(InputError, match="Name its checkpoint with `--weights`"):
        configure({"fake_quantise": "int8-cpu", "weights": weights}, {})
