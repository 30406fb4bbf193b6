"""onnxruntime on a graph that lies in no file."""

import onnx
import onnxruntime

from edgecv.errors import InputError

_ERRORS_ONLY = 3  # onnxruntime's severity scale


def open_in_memory(model: onnx.ModelProto, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Return a session on the CPU of a graph that lies in no file.

    Raises:
        InputError: if onnxruntime refuses it.

    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no public base class
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} cannot run the graph: {reason}. "
            "Export it again."
        ) from error
