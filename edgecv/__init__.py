"""edgecv takes a vision model from PyTorch to a camera.

    import edgecv

    model = edgecv.load("model.onnx")
    detections = model("street.jpg")
    for result in edgecv.stream("rtsp://camera/1", model):
        print(result.result)

Names are imported when they are first used, so that `import edgecv` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from edgecv.errors import EdgeCVError

if TYPE_CHECKING:
    __version__: str
    from edgecv.results import Classification as Classification
    from edgecv.results import Detections as Detections
    from edgecv.results import Instances as Instances
    from edgecv.results import Poses as Poses
    from edgecv.results import Result as Result
    from edgecv.results import Segmentation as Segmentation
    from edgecv.runtime.model import Model as Model
    from edgecv.runtime.model import load as load
    from edgecv.spec import ModelSpec as ModelSpec
    from edgecv.stream.opening import stream as stream

_HOME = {
    "Classification": "edgecv.results",
    "Detections": "edgecv.results",
    "Instances": "edgecv.results",
    "Model": "edgecv.runtime.model",
    "ModelSpec": "edgecv.spec",
    "Poses": "edgecv.results",
    "Result": "edgecv.results",
    "Segmentation": "edgecv.results",
    "load": "edgecv.runtime.model",
}

__all__ = [
    "Classification",
    "Detections",
    "EdgeCVError",
    "Instances",
    "Model",
    "ModelSpec",
    "Poses",
    "Result",
    "Segmentation",
    "load",
    "stream",
]


def __getattr__(name: str) -> object:
    if name == "stream":  # the subpackage itself is callable
        return import_module("edgecv.stream")
    if name == "__version__":
        from edgecv.provenance import installed_version  # noqa: PLC0415

        return installed_version("edgecv") or "0+unknown"  # run from an uninstalled checkout
    if name not in _HOME:
        raise AttributeError(f"module 'edgecv' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
