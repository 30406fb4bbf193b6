"""A run's settings: stored in a checkpoint without loss, and refused where nothing can train."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.data.augment.files import read_recipe
from edgecv.errors import InputError, SpecError
from edgecv.placement import FITS
from edgecv.records import from_plain, to_plain
from edgecv.train.config import TrainConfig

triples = st.tuples(*[st.floats(0, 1)] * 3)
configs = st.builds(
    TrainConfig,
    model=st.text(min_size=1),
    data=st.text(min_size=1),
    epochs=st.integers(1, 1000),
    size_hw=st.tuples(st.integers(64, 2000), st.integers(64, 2000)),
    fit=st.sampled_from(FITS),
    augment=st.sampled_from(["default", "none", "strong"]).map(read_recipe),
    batch_size=st.integers(1, 512),
    learning_rate=st.floats(1e-6, 10),
    backbone_rate=st.floats(0, 1),
    weight_decay=st.floats(0, 1),
    warmup_epochs=st.floats(0, 10),
    ema_decay=st.floats(0, 1, exclude_max=True),
    weights=st.text(),
    mean=triples,
    std=triples,
    precision=st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    workers=st.integers(0, 64),
    seed=st.integers(0, 2**63),
    on_bad=st.sampled_from(["error", "skip"]),
    accumulate=st.integers(1, 16),
    compile=st.booleans(),
    sync_norms=st.booleans(),
    patience=st.none() | st.integers(1, 100),
    time_budget_s=st.none() | st.floats(1, 1e6),
)


@given(config=configs)
def test_json_keeps_everything(config: TrainConfig) -> None:
    plain = json.loads(json.dumps(to_plain(config)))
    assert from_plain(TrainConfig, plain, where="config") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be at least 1e-12, got 0.0"),
        ({"learning_rate": math.nan}, "`learning_rate` must be at least 1e-12, got nan"),
        ({"backbone_rate": -0.1}, "`backbone_rate` must be at least 0, got -0.1"),
        ({"weight_decay": -1.0}, "`weight_decay` must be at least 0, got -1.0"),
        ({"warmup_epochs": -1.0}, "`warmup_epochs` must be at least 0, got -1.0"),
        ({"ema_decay": -0.5}, "`ema_decay` must be at least 0, got -0.5"),
        ({"ema_decay": 1.0}, "`ema_decay` must be below 1, got 1.0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"workers": -1}, "`workers` must be at least 0, got -1"),
        ({"accumulate": 0}, "`accumulate` must be at least 1, got 0"),
        ({"patience": 0}, "`patience` must be at least 1, got 0"),
        ({"time_budget_s": 0.0}, "`time_budget_s` must be at least 1, got 0.0"),
        ({"unfreeze": (5, 5)}, "`unfreeze` must be ascending numbers of epochs"),
        ({"unfreeze": (-1,)}, "each below `epochs` = 50, got [-1]"),
        ({"unfreeze": (50,)}, "each below `epochs` = 50, got [50]"),
        ({"unfreeze": (5,), "backbone_rate": 0.0}, "Leave out `unfreeze`, or give a rate"),
        ({"fake_quantise": "int8-cpu"}, "Name its checkpoint with `--weights`"),
        ({"fake_quantise": "int8-cpu", "weights": "none"}, "a model that is trained already"),
        (
            {"fake_quantise": "int8-cpu", "weights": "best.pt", "precision": "bfloat16"},
            "and bfloat16's do not. Leave out `--precision`",
        ),
        (
            {"fake_quantise": "int8-tensorrt", "weights": "best.pt", "compile": True},
            "Leave out `--compile`",
        ),
        ({"size_hw": (0, 320)}, "`size` must be at least 1 x 1, got (0, 320)"),
    ],
)
def test_what_cannot_train_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        TrainConfig("ssd", "bccd", **changes)
    assert message in str(raised.value)


def test_the_bounds_themselves_are_accepted() -> None:
    least = TrainConfig(
        "ssd",
        "bccd",
        epochs=1,
        size_hw=(64, 64),
        batch_size=1,
        backbone_rate=0.0,
        weight_decay=0.0,
        warmup_epochs=0.0,
        ema_decay=0.0,
        workers=0,
    )
    assert least.size_hw == (64, 64)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, [None] * 4),
        ({"backbone_rate": 0.0}, [0] * 4),
        ({"unfreeze": (2,)}, [0, 0, None, None]),
        ({"unfreeze": (0,)}, [None] * 4),
        ({"unfreeze": (0, 2, 3)}, [1, 1, 2, None]),
    ],
)
def test_stages_of_the_backbone_join_one_by_one(
    changes: dict[str, Any], stages: list[int | None]
) -> None:
    config = TrainConfig("ssd", "bccd", **changes)
    assert [config.trained_stages(epoch) for epoch in range(4)] == stages


def test_a_checkpoint_of_other_settings_names_them() -> None:
    plain = to_plain(TrainConfig("ssd", "bccd")) | {"batchsize": 4}
    with pytest.raises(SpecError, match=r"`config\.batchsize`. Did you mean `batch_size`\?"):
        from_plain(TrainConfig, plain, where="config")


def test_a_checkpoint_from_before_recipes_means_the_default() -> None:
    plain = to_plain(TrainConfig("ssd", "bccd"))
    del plain["augment"]
    assert from_plain(TrainConfig, plain, where="config").augment == read_recipe("default")


def test_options_are_stored_as_they_are() -> None:
    options = {"anchors": "all-pairs", "levels": 3, "is_wide": True, "prior": 0.5}
    config = TrainConfig("ssd", "bccd", options={**options, "strides": (8, 16), "mean": (0.5, 1.0)})
    stored = json.loads(json.dumps(to_plain(config)))
    restored = from_plain(TrainConfig, stored, where="config")
    assert restored == config
    for name, value in restored.options.items():
        assert type(value) is type(config.options[name])
    with pytest.raises(SpecError, match=r"`config\.options\.a` must be one of the kinds bool, int"):
        from_plain(TrainConfig, stored | {"options": {"a": None}}, where="config")
    del stored["options"]  # a checkpoint from before options
    assert from_plain(TrainConfig, stored, where="config").options == {}
