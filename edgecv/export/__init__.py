"""From PyTorch, or from somebody else's ONNX file, to a model that describes and proves itself."""

from edgecv.runtime.plugin_file import plugin_library as plugin_library
