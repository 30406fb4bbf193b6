"""Recipes of engines: those that ship, inheritance, and what is refused with file and key."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.engine_recipe import Profile, Recipe
from edgecv.errors import InputError, SpecError
from edgecv.export.engine.recipe_files import read_recipe, recipe_names
from edgecv.records import from_plain, to_plain

DEVICES = ("orin-nano", "orin-nx", "agx-orin", "thor", "workstation")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_resolves(name: str) -> None:
    recipe = read_recipe(name)
    stated = name.rpartition("-")[2]
    assert recipe.precision == (stated if stated in ("fp32", "fp16", "int8") else None)
    assert recipe.uses_dla == ("-dla-" in name)
    assert recipe.device
    assert recipe.compute_capabilities == (
        ("8.7",) if "orin" in name else ("11.0",) if "thor" in name else ()
    )
    assert recipe.tf32 == (stated != "fp32")
    assert from_plain(Recipe, to_plain(recipe), where="") == recipe


def test_every_device_has_every_precision() -> None:
    wanted = {f"{device}-{kind}" for device in DEVICES for kind in ("fp32", "fp16", "int8")}
    assert wanted <= set(recipe_names())


settings = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.sampled_from(["fp32", "fp16", "int8"]),
        "device": st.text("abc ", max_size=4),
        "workspace_mib": st.integers(0, 9),
        "optimisation_level": st.integers(0, 5),
        "timing_iterations": st.integers(1, 9),
        "timing_cache": st.booleans(),
        "tf32": st.booleans(),
        "hardware_compatibility": st.sampled_from(["none", "ampere+"]),
        "compute_capabilities": st.lists(st.sampled_from(["8.7", "11.0"]), max_size=2),
    },
)


@given(generations=st.lists(settings, min_size=1, max_size=4))
def test_the_youngest_that_names_a_key_decides_it(
    generations: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recipes")
    expected: dict[str, Any] = {}
    for number, own in enumerate(generations):  # the eldest first
        lines = [f"{key} = {json.dumps(value)}" for key, value in own.items()]
        if number:
            lines.insert(0, f'extends = "{number - 1}.toml"')
        (folder / f"{number}.toml").write_text("\n".join(lines))
        expected |= own
    found = read_recipe(str(folder / f"{len(generations) - 1}.toml"))
    assert found == from_plain(Recipe, expected, where="")


def test_a_file_inherits_from_a_recipe_that_ships(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "orin-nano-fp16"\nworkspace_mib = 512\n'
        "[[profiles]]\nbatch = [1, 2, 4]\n"
        "shapes.images = [[1, 3, 64, 64], [1, 3, 96, 96], [2, 3, 96, 128]]\n"
    )
    recipe = read_recipe(str(path))
    assert (recipe.precision, recipe.workspace_mib, recipe.timing_iterations) == ("fp16", 512, 4)
    images = ((1, 3, 64, 64), (1, 3, 96, 96), (2, 3, 96, 128))
    assert recipe.profiles == (Profile((1, 2, 4), {"images": images}),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workspce_mib = 3", "unknown key `workspce_mib`. Did you mean `workspace_mib`?"),
        ("zzz = 3", "unknown key `zzz`. Known keys: precision, device"),
        ("profiles = [{ batches = [1, 1, 1] }]", "`profiles[0].batches`. Did you mean `batch`?"),
        ('precision = "fp8"', "`precision` must be one of fp32, fp16, int8, got 'fp8'"),
        ("optimisation_level = 6", "`optimisation_level` must be in 0..5, got 6"),
        ("workspace_mib = -1", "`workspace_mib` must be 0 or more, got -1"),
        ("timing_iterations = 0", "`timing_iterations` must be at least 1, got 0"),
        ("timing_cache = 1", "`timing_cache` must be a bool, got 1"),
        ("dla_core = -2", "`dla_core` must be a core or -1, got -2"),
        ("profiles = []", "`profiles` must have at least one entry"),
        ("profiles = [{ batch = [1, 4, 2] }]", "`profiles.batch` must be [smallest, usual,"),
        ("profiles = [{ batch = [0, 1, 2] }]", "from 1 on and in this order, got (0, 1, 2)"),
        (
            "profiles = [{ shapes.x = [[1, 2], [1, 1], [1, 3]] }]",
            "`profiles.shapes.x` must grow from the first shape to the third",
        ),
        (
            "profiles = [{ shapes.x = [[1, 2], [1], [1, 3]] }]",
            "`profiles.shapes.x` must have three shapes of one rank",
        ),
        ('compute_capabilities = ["87"]', "must hold numbers such as '8.7', got '87'"),
        ('precision = "fp32"\ndla_core = 0', "`precision` must be fp16 or int8"),
        ("dla_core = 0\nprofiles = [{ batch = [1, 1, 2] }]", "must be one size three times"),
        ("extends = 3", "`extends` must be a name or a file, got 3"),
        ('extends = "nobody"', "`extends` must be a file or one of agx-orin, "),
        ("tf32 = ", "is not TOML"),
    ],
)
def test_what_a_recipe_must_not_say(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_file_at_fault_is_named_and_not_its_heir(tmp_path: Path) -> None:
    (tmp_path / "elder.toml").write_text("timing_iteration = 2\n")
    heir = tmp_path / "heir.toml"
    heir.write_text('extends = "elder.toml"\n')
    with pytest.raises(InputError, match=r"elder\.toml`: unknown key .*`timing_iterations`"):
        read_recipe(str(heir))


def test_circles_and_strangers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(InputError, match=r"itself: `a\.toml` → `b\.toml` → `a\.toml`"):
        read_recipe(str(tmp_path / "a.toml"))
    with pytest.raises(InputError, match="`--recipe` must be a file or one of agx-orin, "):
        read_recipe("orin-nano-fp8")


def test_a_recipe_made_in_python_is_checked_too() -> None:
    with pytest.raises(SpecError, match="`optimisation_level`"):
        Recipe(optimisation_level=9)
