"""Run by `test_driver_device.py` in a process of its own, beside a simulated libcuda.so.1.

    python driven_device.py DRIVER

prints, as JSON, what a session asks of a device and what comes of it.
"""

import ctypes
import gc
import json
import os
import sys
import threading
from typing import Any

import numpy as np

from edgecv.errors import DeviceError
from edgecv.runtime.cuda_python_driver import CudaPythonDriver
from edgecv.runtime.driver_device import DriverDevice
from edgecv.runtime.libcuda_driver import LibcudaDriver
from edgecv.runtime.pycuda_driver import PycudaDriver
from edgecv.runtime.transfers import Downloads, OutputLayout, Uploads

DRIVERS: dict[str, Any] = {
    "cuda-python": CudaPythonDriver,
    "driver": LibcudaDriver,
    "pycuda": PycudaDriver,
}
CUDA = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
CUDA.SimulatedLog.restype = ctypes.c_char_p


def calls() -> list[str]:
    """What the library was asked since the last time."""
    found: list[str] = CUDA.SimulatedLog().decode().split()
    CUDA.SimulatedClear()
    return found


def on_device(device: DriverDevice, stream: Any, array: Any) -> list[Any]:
    """The content of a device's array."""
    host = device.host_buffer(array.nbytes, "a look")
    device.copy(host.view(array.dtype), array, stream)
    device.synchronize()
    values: list[Any] = host.view(array.dtype).copy().tolist()
    return values


def refusal(work: Any) -> str:
    try:
        work()
    except DeviceError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"


def filled(device: DriverDevice, stream: Any) -> dict[str, Any]:
    found = {}
    for kind, value in (("float32", 0.25), ("float16", 0.5), ("uint8", 7), ("int32", 0)):
        buffer = device.buffer(512, "a test")
        array = device.view(buffer, 256, (3,), kind)
        device.fill(array, value, stream)
        found[kind] = on_device(device, stream, array)
    return found


def transferred(device: DriverDevice, stream: Any) -> list[int]:
    """A frame up, doubled where it lies by a copy of itself, and down; from another thread."""
    uploads, downloads = Uploads(device), Downloads(device)
    packed = device.buffer(8, "a test")
    found: list[int] = []

    def work() -> None:
        staged = uploads.stage([np.arange(4, dtype=np.uint8), np.arange(40, 44, dtype=np.uint8)])
        staged.begin(stream)
        for index, array in enumerate(staged.arrays):
            device.copy(packed[4 * index : 4 * index + 4], array, stream)
        staged.end(stream)
        layout = OutputLayout.of(["bytes"], [(8,)], [np.dtype(np.uint8)])
        found.extend(downloads.fetch(packed, layout, stream)["bytes"].tolist())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found


def replayed(device: DriverDevice, stream: Any) -> dict[str, Any]:
    """A graph that copies: it reads what lies there when it is launched."""
    source, target = (device.buffer(4, "a test") for _ in range(2))
    count = [0]

    def work() -> None:
        count[0] += 1
        device.copy(target, source, stream)

    device.fill(source, 1, stream)
    calls()
    replay = device.captured(work, stream)
    asked = calls()
    device.fill(source, 2, stream)
    before = on_device(device, stream, target)
    replay()
    return {
        "asked": asked,
        "count": count[0],
        "before": before,
        "after": on_device(device, stream, target),
    }


def not_captured(device: DriverDevice, stream: Any) -> dict[str, Any]:
    """Work that fails while it is captured, and a capture that the driver calls off."""
    calm = [True]

    def work() -> None:
        if not calm[0]:
            raise DeviceError("the work failed. Do something.")
        calm[0] = False

    broken = refusal(lambda: device.captured(work, stream))

    def invalid() -> None:
        CUDA.SimulatedInvalidate(ctypes.c_void_p(device.handle(stream)))

    called_off = refusal(lambda: device.captured(invalid, stream))
    target = device.buffer(4, "a test")
    device.fill(target, 3, stream)  # the stream works again
    return {"broken": broken, "called off": called_off, "later": on_device(device, stream, target)}


def refused(device: DriverDevice, stream: Any) -> dict[str, str]:
    beyond = device.view(device.buffer(256, "a test"), 0, (257,), np.uint8)
    return {
        "too much": refusal(lambda: device.buffer(100 << 20, "a whale")),
        "too much of the host": refusal(lambda: device.host_buffer(100 << 20, "a whale")),
        "refused": refusal(lambda: device.fill(beyond, 0, stream)),
    }


def main() -> None:
    sys.setdlopenflags(os.RTLD_LAZY)  # PyCUDA's module names functions that nobody calls here
    device = DriverDevice(DRIVERS[sys.argv[1]]())
    stream = device.stream()
    buffer = device.buffer(256, "a test")
    found = {
        "name": device.name,
        "filled": filled(device, stream),
        "transferred": transferred(device, stream),
        "replayed": replayed(device, stream),
        "not captured": not_captured(device, stream),
        **refused(device, stream),
        "interface": buffer.__cuda_array_interface__["data"][0] == device.address(buffer),
        "depth": CUDA.SimulatedDepth(),
        "alive": CUDA.SimulatedAlive() > 0,
    }
    calls()
    rest = device.view(buffer, 0, (4,), np.uint8)
    del buffer, device
    gc.collect()
    found["kept by a view"] = calls().count("cuMemFree") == 0
    del rest, stream
    gc.collect()
    freed = calls()
    found["freed last"] = freed[-1] if freed else None
    found["alive at the end"] = CUDA.SimulatedAlive()
    found["retained at the end"] = CUDA.SimulatedRetained()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
