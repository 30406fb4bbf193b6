"""The arithmetics that a model file can be written in."""

from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["fp32", "fp16", "int8-cpu", "int8-tensorrt"]
"""What a graph computes with.

`fp32`: float32. `fp16`: float16 but for boxes, regions, scores and what sums them. `int8-cpu`:
convolutions and what lies between them in 8 bits, unsigned activations and signed weights, as
onnxruntime runs fast on x86 and Arm. `int8-tensorrt`: symmetric signed 8 bits, as TensorRT wants.
"""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
