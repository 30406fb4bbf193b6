"""The report of what CUDA kernels take of a GPU, and its bounds, on a log that nvcc 13.0 wrote."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
LOG = HERE / "nvcc-13.0.log"

BOUNDS = "[default]\nregisters = 40\nspill_bytes = 0\nstack_bytes = 0\nshared_bytes = 200\n"


@pytest.fixture(scope="module")
def resources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resources", CHECKOUT / ".ci" / "resources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reads_every_function_on_every_architecture(resources: ModuleType) -> None:
    found = resources.parse(LOG.read_text())
    usage = resources.Usage
    short = {(name.split("cae2422")[-1], at): numbers for (name, at), numbers in found.items()}
    assert short == {
        ("6SpillsIfLi3ELb1EEEvPT_iPf", "75"): usage(34, 0, 160, 256),
        ("6SpillsI6__halfLi3ELb1EEEvPT_iPf", "75"): usage(38, 0, 160, 256),
        ("5PlainEPf", "75"): usage(64, 224, 352, 0),
        ("1fIfEEfPT_i", "75"): usage(0, 0, 0, 0),  # called, not contained
        ("1fI6__halfEEfPT_i", "75"): usage(0, 0, 0, 0),
        ("6SpillsIfLi3ELb1EEEvPT_iPf", "90"): usage(32, 0, 160, 256),
        ("6SpillsI6__halfLi3ELb1EEEvPT_iPf", "90"): usage(32, 0, 160, 256),
        ("5PlainEPf", "90"): usage(32, 812, 608, 0),
        ("1fIfEEfPT_i", "90"): usage(0, 0, 0, 0),
        ("1fI6__halfEEfPT_i", "90"): usage(0, 0, 0, 0),
    }


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="needs c++filt")
def test_prints_the_most_of_a_kernel_and_what_is_broken(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = tmp_path / "bounds.toml"
    bounds.write_text(
        BOUNDS
        + '[exception."Spills<*>"]\nshared_bytes = 256\nreason = "a test"\n'
        + '[exception."Plain"]\nspill_bytes = 800\nstack_bytes = 608\nreason = "a test"\n'
    )
    assert resources.main(str(bounds), str(LOG)) == 1
    *table, first, second, third, fourth, fifth, sixth = capsys.readouterr().out.splitlines()
    assert [line.split() for line in table[1:]] == [
        ["Plain", "1", "64", "812", "608", "0", "sm_90"],
        ["Spills", "2", "38", "0", "160", "256", "sm_75"],
        ["f", "2", "0", "0", "0", "0", "sm_75"],
    ]
    assert first == (
        "resources: Spills<float, 3, true> on sm_75: 160 stack bytes, at most 0 allowed"
    )
    assert second.startswith("resources: Spills<__half, 3, true> on sm_75: 160 stack")
    assert third == "resources: Plain on sm_75: 64 registers, at most 40 allowed"
    assert fourth.startswith("resources: Spills<float, 3, true> on sm_90: 160 stack")
    assert fifth.startswith("resources: Spills<__half, 3, true> on sm_90: 160 stack")
    assert sixth == "resources: Plain on sm_90: 812 spill bytes, at most 800 allowed"


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="needs c++filt")
def test_passes_what_the_exceptions_allow(resources: ModuleType, tmp_path: Path) -> None:
    bounds = tmp_path / "bounds.toml"
    bounds.write_text(
        BOUNDS
        + '[exception."Spills<*>"]\nstack_bytes = 160\nshared_bytes = 256\nreason = "a test"\n'
        + '[exception."Plain"]\nregisters = 64\nspill_bytes = 812\nstack_bytes = 608\nreason="x"\n'
    )
    assert resources.main(str(bounds), str(LOG)) == 0


def test_refuses_an_exception_that_no_kernel_needs(resources: ModuleType) -> None:
    exception = '[exception."Some*"]\nregisters = 64\nspill_bytes = 8\nreason = "a test"\n'
    bounds = resources.Bounds.from_toml(BOUNDS + exception)
    assert list(bounds.broken({("SomeKernel<3>", "75"): resources.Usage(registers=41)})) == [
        "resources.toml: no kernel needs spill_bytes of the exception 'Some*'"
    ]


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="needs c++filt")
def test_kernels_of_one_name_count_together(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = "Compiling entry function '_ZN37_GLOBAL__N__{}5PlainEPf' for 'sm_75'\nUsed {} registers"
    log, bounds = tmp_path / "log", tmp_path / "bounds.toml"
    log.write_text(
        "\n".join(entry.format(f"{i}530d813_5_t1_cu_4cae2422", 30 - i) for i in range(3))
    )
    bounds.write_text(BOUNDS)
    assert resources.main(str(bounds), str(log)) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["Plain", "1", "30"]


def test_a_log_without_kernels_is_no_proof(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text("ninja: no work to do.\n")
    assert resources.main(str(CHECKOUT / "kernels" / "resources.toml"), str(log)) == 1
    assert capsys.readouterr().out.startswith("resources: no kernel in")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\nregisters = 9\n", r"\[default\] must have spill_bytes, stack_bytes, shared_b"),
        (BOUNDS + "blocks = 2\n", r"\[default\] must have no key but .*, got 'blocks'"),
        (BOUNDS + "[exceptions]\n", "must have no key but default, exception, got 'exceptions'"),
        (
            BOUNDS + "[exception.K]\nspills = 1\n",
            r'\[exception."K"\] must have no key but .*spills',
        ),
        (BOUNDS + "[exception.K]\nregisters = 1\n", r'\[exception."K"\] must have a reason'),
    ],
)
def test_refuses_bounds(resources: ModuleType, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^resources.toml.*{message}"):
        resources.Bounds.from_toml(text)
