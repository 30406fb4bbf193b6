"""`edgecv` in a process of its own, with the stand-in of TensorRT in the place of the real one.

    python build_program.py SURFACE FOLDER WORDS...

SURFACE is what a version has, see `tensorrt_bindings.py`. FOLDER takes a file `step` when a step of
the build has been reported; the build goes on when a file `go` appears there.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tensorrt_stand_in import Script, make_module

from edgecv.bundle import machine
from edgecv.bundle.machine import Gpu


def main(surface_path: str, folder_path: str, *words: str) -> None:
    """Run the command line."""
    surface, folder = json.loads(Path(surface_path).read_text()), Path(folder_path)

    def until_go(step: Any) -> None:
        while step(0) and not (folder / "go").exists():
            (folder / "step").touch()
            time.sleep(0.005)

    script = Script(while_building=until_go)
    sys.modules["tensorrt"] = make_module(surface, script)
    gpu = Gpu("Orin", "8.7", surface["version"], 8)
    machine.find_gpu = lambda: gpu
    from edgecv.cli import main as command_line

    sys.argv = ["edgecv", *words]
    command_line()


main(*sys.argv[1:])
