"""Which Jetson this is, and which JetPack runs on it.

Source: the device tree bindings of Linux (`arm/tegra.yaml`) and NVIDIA's Jetson Linux Developer
Guide for part numbers, `/etc/nv_tegra_release` and nvpmodel's files.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgecv.board.files import SystemFiles

_DEVICE_TREE = "proc/device-tree"

# Compute capability and family by chip. An unknown chip of NVIDIA is still a Jetson.
_CHIPS = {
    "tegra194": ("72", "Xavier"),
    "tegra234": ("87", "Orin"),
    "tegra264": ("110", "Thor"),
}
# By part number and SKU, which the device tree gives as `nvidia,p3767-0005`.
_MODULES = {
    "p3701-0000": "AGX Orin 32GB",
    "p3701-0004": "AGX Orin 32GB",
    "p3701-0005": "AGX Orin 64GB",
    "p3701-0008": "AGX Orin Industrial",
    "p3767-0000": "Orin NX 16GB",
    "p3767-0001": "Orin NX 8GB",
    "p3767-0003": "Orin Nano 8GB",
    "p3767-0004": "Orin Nano 4GB",
    "p3767-0005": "Orin Nano 8GB",
    "p3834-0008": "AGX Thor T5000",
}
# By the first number of the L4T release, for boards whose `nvidia-jetpack` is not installed.
_JETPACKS = {35: "5", 36: "6", 38: "7", 39: "7"}


@dataclass(frozen=True)
class PowerMode:
    """One of nvpmodel's modes: `sudo nvpmodel -m <number>` chooses it.

    Args:
        number: its ID.
        name: such as `MAXN_SUPER`; `unnamed` where the table of names cannot be read.

    """

    number: int
    name: str

    def __str__(self) -> str:
        """Return name and number."""
        return f"{self.name} ({self.number})"


@dataclass(frozen=True)
class Jetson:
    """A Jetson board and its software; None where a file does not tell.

    Args:
        model: what the board calls itself.
        module: the module on it, such as `Orin NX 16GB`; of unknown modules the family.
        chip: such as `tegra234`.
        architecture: the GPU's compute capability without its point, such as `87`.
        l4t: release of Jetson Linux, such as `36.4.3`.
        jetpack: version of the package `nvidia-jetpack`, such as `6.2+b77`.
        power_mode: the present one.
        power_modes: all that nvpmodel offers here.
        cuda: version of the CUDA toolkit.
        tensorrt: version of TensorRT.

    """

    model: str
    module: str
    chip: str
    architecture: str | None
    l4t: str | None
    jetpack: str | None
    power_mode: PowerMode | None
    power_modes: tuple[PowerMode, ...]
    cuda: str | None
    tensorrt: str | None

    @property
    def jetpack_major(self) -> str | None:
        """Which JetPack it is, `6` or `7`, from the package or else from the L4T release."""
        if self.jetpack is not None:
            return self.jetpack.partition(".")[0]
        if self.l4t is not None:
            return _JETPACKS.get(int(self.l4t.partition(".")[0]))
        return None


def find_jetson(files: SystemFiles) -> Jetson | None:
    """Return the Jetson that `files` are of, None where it is another machine."""
    compatible = (files.text(f"{_DEVICE_TREE}/compatible") or "").split("\0")
    chips = [name.removeprefix("nvidia,") for name in compatible if name.startswith("nvidia,tegra")]
    if not chips:
        return None
    chip = chips[-1]
    architecture, family = _CHIPS.get(chip, (None, chip))
    packages = _packages(files)
    current, modes = _power_modes(files)
    return Jetson(
        model=files.text(f"{_DEVICE_TREE}/model") or "NVIDIA board",
        module=_module(compatible) or family,
        chip=chip,
        architecture=architecture,
        l4t=_l4t(files, packages),
        jetpack=packages.get("nvidia-jetpack"),
        power_mode=current,
        power_modes=modes,
        cuda=_cuda(files, packages),
        tensorrt=_tensorrt(files, packages),
    )


def _module(compatible: Iterable[str]) -> str | None:
    """Return the module's name; carriers stand before it, as in `nvidia,p3768-0000+p3767-0005`."""
    for name in compatible:
        for part in re.findall(r"p[0-9]{4}-[0-9]{4}", name):
            if part in _MODULES:
                return _MODULES[part]
    return None


def _l4t(files: SystemFiles, packages: dict[str, str]) -> str | None:
    """Return the release from `# R36 (release), REVISION: 4.3, GCID: …`, else from its package."""
    text = files.text("etc/nv_tegra_release") or ""
    found = re.search(r"R([0-9]+)\s*\(release\),\s*REVISION:\s*([0-9.]+)", text)
    if found:
        return f"{found[1]}.{found[2]}"
    found = re.match(r"[0-9]+(\.[0-9]+)+", packages.get("nvidia-l4t-core", ""))
    return found[0] if found else None


def _power_modes(files: SystemFiles) -> tuple[PowerMode | None, tuple[PowerMode, ...]]:
    """Return the mode in `pmode:0002` and the modes in `< POWER_MODEL ID=2 NAME=MAXN_SUPER >`."""
    table = files.text("etc/nvpmodel.conf") or ""
    line = r"^\s*<\s*POWER_MODEL\s+ID=([0-9]+)\s+NAME=([^\s>]+)"
    modes = tuple(PowerMode(int(n), name) for n, name in re.findall(line, table, re.MULTILINE))
    found = re.search(r"pmode:([0-9]+)", files.text("var/lib/nvpmodel/status") or "")
    if found is None:
        return None, modes
    number = int(found[1])
    named = (mode for mode in modes if mode.number == number)
    return next(named, PowerMode(number, "unnamed")), modes


def _packages(files: SystemFiles) -> dict[str, str]:
    """Return name and version of the installed Debian packages that matter here."""
    wanted = re.compile(r"nvidia-jetpack|nvidia-l4t-core|cuda-cudart-[0-9-]+|libnvinfer[0-9]+")
    found = {}
    for stanza in (files.text("var/lib/dpkg/status") or "").split("\n\n"):
        name = stanza.removeprefix("Package: ").partition("\n")[0].strip()
        if not wanted.fullmatch(name):
            continue
        fields = dict(re.findall(r"^(Status|Version): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and "Version" in fields:
            found[name] = fields["Version"].strip()
    return found


def _cuda(files: SystemFiles, packages: dict[str, str]) -> str | None:
    """Return `12.6` from the toolkit's header, where 12060 says so, else from its runtime."""
    header = files.text("usr/local/cuda/include/cuda.h") or ""
    found = re.search(r"^#define\s+CUDA_VERSION\s+([0-9]+)", header, re.MULTILINE)
    if found:
        return f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}"
    versions = [packages[name] for name in packages if name.startswith("cuda-cudart-")]
    return _newest(versions, 2)


def _tensorrt(files: SystemFiles, packages: dict[str, str]) -> str | None:
    """Return `10.3.0` from the header, whose newer form names one macro by another."""
    header = files.text("usr/include/aarch64-linux-gnu/NvInferVersion.h") or ""
    macros = dict(re.findall(r"^#define\s+(\w+)\s+(\w+)", header, re.MULTILINE))
    numbers = []
    for part in ("MAJOR", "MINOR", "PATCH"):
        value = macros.get(f"NV_TENSORRT_{part}", "")
        numbers.append(str(macros.get(value, value)))
    if all(number.isdecimal() for number in numbers):
        return ".".join(numbers)
    versions = [packages[name] for name in packages if name.startswith("libnvinfer")]
    return _newest(versions, 3)


def _newest(versions: Iterable[str], num_parts: int) -> str | None:
    """Return the first `num_parts` numbers of the newest version, None for none."""
    numbers = [tuple(map(int, re.findall(r"[0-9]+", one)[:num_parts])) for one in versions]
    return ".".join(map(str, max(numbers))) if numbers else None
