"""A module `tensorrt` that records what is asked of it and builds nothing.

Its classes have the attributes of the real ones of a version, see `bindings.py`, and no others:
whoever asks for more gets an AttributeError, as on a machine with that version.
"""

# ruff: noqa: ARG002  # it takes what the real methods take

import ctypes
import enum
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

PLAN = b"a plan"
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "UINT8": np.uint8}

Shapes = tuple[Sequence[int], Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class TensorStandIn:
    """An input or output: its type by TensorRT's name, its sides, -1 for one of any length."""

    kind: str
    shape: Sequence[int]


@dataclass
class EngineStandIn:
    """What an engine has, and what it does.

    Args:
        inputs: by name; the first has the axis of images.
        outputs: by name.
        profiles: smallest, usual and largest shape of each input with free sides.
        compute: outputs of inputs.
        submit: takes work for the stream of a number, None for an engine that computes nothing.
        scratch_bytes: that the layers need for one image.
        on_host: tensors that lie there.
        depends_on_data: outputs whose free side only the data tells.

    """

    inputs: Mapping[str, TensorStandIn]
    outputs: Mapping[str, TensorStandIn]
    profiles: Sequence[Mapping[str, Shapes]] = ()
    compute: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda _: {}
    submit: Callable[[int, Callable[[], None]], None] | None = None
    scratch_bytes: int = 0
    on_host: frozenset[str] = frozenset()
    depends_on_data: frozenset[str] = frozenset()


def _built_engine() -> EngineStandIn:
    """What the builder's tests build."""
    tensor = TensorStandIn("HALF", (-1, 3, 8, 8))
    ranges = ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    return EngineStandIn({"images": tensor}, {"boxes": tensor}, [{"images": ranges}])


@dataclass
class Script:
    """How the stand-in behaves, where it has a choice, and what was asked of it.

    Args:
        parser_errors: (node, operator, code, words); with any, parsing fails.
        layers: what the inspector says, as JSON.
        plan: what is built, None for a failure.
        errors: what the logger is told while nothing is built.
        num_dla_cores: that the machine has.
        while_building: called in the builder's thread with what reports a step.
        plugins_load: whether a plugin library can be loaded.
        caches_fit: whether a timing cache with content is of this device.
        engine: what a plan becomes when it is loaded.
        contexts_left: how many contexts there is memory for.
        runs: whether an engine can be run.
        calls: what was asked, in order.
        freed: what was given back, in order, each with `~` before it.

    """

    parser_errors: tuple[tuple[str, str, str, str], ...] = ()
    layers: str = '{"Layers": []}'
    plan: bytes | None = PLAN
    errors: tuple[str, ...] = ()
    num_dla_cores: int = 0
    while_building: Callable[[Callable[[int], bool]], None] = lambda _: None
    plugins_load: bool = True
    caches_fit: bool = True
    engine: EngineStandIn = field(default_factory=_built_engine)
    contexts_left: int = 1000
    runs: bool = True
    calls: list[str] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)


class _Memory:
    """What a serialised engine or cache comes in."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __bytes__(self) -> bytes:
        return self.data


def make_module(surface: dict[str, Any], script: Script) -> ModuleType:
    """Return the module of a version."""
    module = ModuleType("tensorrt")
    module.__dict__["__version__"] = surface["version"]
    for name, described in surface["types"].items():
        setattr(module, name, _type(name, described, script, module))
    return module


def _type(name: str, described: dict[str, Any], script: Script, module: ModuleType) -> type:
    if "enum" in described:
        return enum.IntEnum(name, described["enum"])
    behaviour = _BEHAVIOURS.get(name)
    namespace: dict[str, Any] = {"__init__": _init(name, behaviour, script, module)}
    if name == "Dims":
        return type(name, (list,), {})
    for attribute, kind in described["class"].items():
        if isinstance(kind, dict):
            namespace[attribute] = _type(attribute, kind, script, module)
        elif kind == "method":
            namespace[attribute] = _method(name, attribute)
        elif kind != "constant":
            namespace[attribute] = _property(name, attribute, is_settable=kind == "property")
    namespace["__slots__"] = ("_inner", "_script", "_values", "__dict__")
    namespace["__setattr__"] = _set
    return type(name, (), namespace)


def _init(name: str, behaviour: Any, script: Script, module: ModuleType) -> Callable[..., None]:
    def init(self: Any, *arguments: Any) -> None:
        inner = None if behaviour is None else behaviour(script, module, *arguments)
        for key, value in (("_script", script), ("_values", {}), ("_inner", inner)):
            object.__setattr__(self, key, value)
        if behaviour is not None and behaviour.is_made_by_users:
            script.calls.append(name)

    return init


def _method(kind: str, name: str) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        done = getattr(self._inner, name, None)
        assert done is not None, f"the stand-in of {kind} has no {name}"
        inspect.signature(done).bind(*arguments, **options)
        shown = [*map(_shown, arguments), *(f"{key}={_shown(one)}" for key, one in options.items())]
        self._script.calls.append(f"{kind}.{name}({', '.join(shown)})")
        return done(*arguments, **options)

    return call


def _property(kind: str, name: str, *, is_settable: bool) -> property:
    def read(self: Any) -> Any:
        if name in self._values:
            return self._values[name]
        assert is_settable or hasattr(self._inner, name), f"the stand-in of {kind} has no {name}"
        return getattr(self._inner, name, None)

    def write(self: Any, value: Any) -> None:
        self._values[name] = value
        self._script.calls.append(f"{kind}.{name} = {_shown(value)}")
        if self._inner is not None:
            setattr(self._inner, name, value)

    return property(read, write if is_settable else None)


def _set(self: Any, name: str, value: Any) -> None:
    """Refuse attributes that the real class lacks: Python would make them."""
    known = getattr(type(self), name, None)
    if isinstance(known, property):
        known.__set__(self, value)
    elif type(self).__module__ == __name__:
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
    else:
        object.__setattr__(self, name, value)  # a class of edgecv's that derives from it


def _shown(value: Any) -> str:
    if isinstance(value, enum.IntEnum):
        return value.name
    if isinstance(value, bytes):
        return "bytes" if value else "nothing"
    if isinstance(value, list | str | int | float | bool):
        return repr(list(value) if isinstance(value, list) else value)
    return type(value).__name__.strip("_")


class _Behaviour:
    is_made_by_users = False
    is_mourned = False

    def __init__(self, script: Script, module: Any) -> None:
        self.script = script
        self.module = module
        if self.is_mourned:
            name = type(self).__name__.strip("_")
            weakref.finalize(self, script.freed.append, f"~{name}").atexit = False


class _Builder(_Behaviour):
    is_made_by_users = True

    def __init__(self, script: Script, module: Any, logger: Any) -> None:
        super().__init__(script, module)
        self.logger = logger
        self.num_DLA_cores = script.num_dla_cores

    def create_network(self, flags: int = 0) -> Any:
        assert flags == 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return self.module.INetworkDefinition()

    def create_builder_config(self) -> Any:
        return self.module.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self.module.IOptimizationProfile()

    def get_plugin_registry(self) -> Any:
        return self.module.IPluginRegistry()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        assert isinstance(network, self.module.INetworkDefinition)
        monitor = getattr(config, "progress_monitor", None)

        def step(number: int) -> bool:
            return monitor is None or bool(monitor.step_complete("Building Engine", number))

        if monitor is not None:
            monitor.phase_start("Building Engine", None, 4)
        self.script.while_building(step)
        goes_on = all(step(number) for number in range(4))
        if monitor is not None:
            monitor.phase_finish("Building Engine")
        severity = self.module.ILogger.Severity
        self.logger.log(severity.INFO, "something of no interest")
        self.logger.log(severity.WARNING, "something of\ninterest")
        for words in self.script.errors:
            self.logger.log(severity.ERROR, words)
        if self.script.plan is None or not goes_on:
            return None
        return _Memory(self.script.plan)


class _Config(_Behaviour):
    def __init__(self, script: Script, module: Any) -> None:
        super().__init__(script, module)
        self.cache: Any = None

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def set_flag(self, flag: Any) -> None: ...
    def clear_flag(self, flag: Any) -> None: ...

    def add_optimization_profile(self, profile: Any) -> int:
        assert isinstance(profile, self.module.IOptimizationProfile)
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        cache = self.module.ITimingCache()
        cache._inner.data = serialized_timing_cache
        return cache

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        assert not ignore_mismatch
        if cache._inner.data and not self.script.caches_fit:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class _Cache(_Behaviour):
    data = b""

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        assert not ignore_mismatch
        self.data = bytes(sorted({*self.data, *input_cache._inner.data}))
        return True

    def serialize(self) -> Any:
        return _Memory(bytes(sorted({*self.data, *b"timed"})))


class _Profile(_Behaviour):
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        assert all(isinstance(one, self.module.Dims) for one in (min, opt, max))


class _Registry(_Behaviour):
    def load_library(self, plugin_path: str) -> Any:
        return plugin_path if self.script.plugins_load else None


class _Parser(_Behaviour):
    is_made_by_users = True

    def __init__(self, script: Script, module: Any, network: Any, logger: Any) -> None:
        super().__init__(script, module)
        assert isinstance(network, module.INetworkDefinition)
        assert isinstance(logger, module.ILogger)

    def set_flag(self, flag: Any) -> None: ...

    def parse(self, model: bytes, path: str = "") -> bool:
        return not self.script.parser_errors

    @property
    def num_errors(self) -> int:
        return len(self.script.parser_errors)

    def get_error(self, index: int) -> Any:
        node, operator, code, words = self.script.parser_errors[index]
        answers = {
            "node_name": node,
            "node_operator": operator,
            "code": SimpleNamespace(name=code),
            "desc": words,
        }
        lacking = set(answers) - set(dir(self.module.ParserError))
        assert not lacking, lacking
        if hasattr(self.module, "ErrorCode"):
            assert code in self.module.ErrorCode.__members__
        return SimpleNamespace(**{name: lambda one=one: one for name, one in answers.items()})


class _Runtime(_Behaviour):
    is_made_by_users = True
    is_mourned = True

    def __init__(self, script: Script, module: Any, logger: Any) -> None:
        super().__init__(script, module)
        assert isinstance(logger, module.ILogger)
        self.logger = logger
        self.num_DLA_cores = script.num_dla_cores

    def load_runtime(self, path: str) -> Any:
        return self.module.Runtime(self.logger) if self.script.plugins_load else None

    def get_plugin_registry(self) -> Any:
        return self.module.IPluginRegistry()

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        if self.script.plan is None:
            for words in self.script.errors:
                self.logger.log(self.module.ILogger.Severity.ERROR, words)
            return None
        assert serialized_engine == self.script.plan
        return self.module.ICudaEngine()


class _Engine(_Behaviour):
    """An engine as `Script.engine` describes it."""

    is_mourned = True

    def __init__(self, script: Script, module: Any) -> None:
        super().__init__(script, module)
        self.described = script.engine
        self.num_io_tensors = len(self._tensors)
        self.num_optimization_profiles = max(1, len(self.described.profiles))

    @property
    def _tensors(self) -> dict[str, TensorStandIn]:
        return {**self.described.inputs, **self.described.outputs}

    def create_engine_inspector(self) -> Any:
        return self.module.EngineInspector()

    def create_execution_context(self, strategy: Any = 0) -> Any:
        if self.script.contexts_left == 0:
            return None
        self.script.contexts_left -= 1
        context = self.module.IExecutionContext()
        context._inner.begin(self.described, is_managed=int(strategy) == 2)
        return context

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.module.TensorIOMode
        return modes.INPUT if name in self.described.inputs else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> Any:
        return self.module.Dims(self._tensors[name].shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        assert name in self.described.inputs
        shapes = self.described.profiles[profile_index][name]
        return [self.module.Dims(shape) for shape in shapes]

    def get_tensor_dtype(self, name: str) -> Any:
        kind = self._tensors[name].kind
        assert kind in self.module.DataType.__members__
        return SimpleNamespace(name=kind, itemsize=np.dtype(NUMPY.get(kind, np.uint8)).itemsize)

    def get_tensor_location(self, name: str) -> Any:
        locations = self.module.TensorLocation
        return locations.HOST if name in self.described.on_host else locations.DEVICE


class _Context(_Behaviour):
    """A context that computes, where `Script.engine` says how, on what lies at its addresses.

    What TensorRT demands is asserted: a profile and shapes before memory, memory and all addresses
    before work, addresses at multiples of 256 bytes.
    """

    is_mourned = True

    def begin(self, described: EngineStandIn, *, is_managed: bool) -> None:
        self.described = described
        self.needs_memory = is_managed and described.scratch_bytes > 0
        self.profile = 0
        self.shapes = {
            name: list(tensor.shape)
            for name, tensor in described.inputs.items()
            if -1 not in tensor.shape
        }
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle
        self.profile = profile_index
        return profile_index < len(self.described.profiles)

    def set_input_shape(self, name: str, shape: Any) -> bool:
        assert isinstance(shape, self.module.Dims)
        smallest, _, largest = self.described.profiles[self.profile][name]
        self.shapes[name] = list(shape)
        sides = zip(smallest, shape, largest, strict=True)
        return all(low <= side <= high for low, side, high in sides)

    def infer_shapes(self) -> list[str]:
        return [name for name in self.described.inputs if name not in self.shapes]

    def update_device_memory_size_for_shapes(self) -> int:
        assert not self.infer_shapes()
        return self.described.scratch_bytes * self._batch_size

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory % 256 == 0
        assert size >= self.described.scratch_bytes * self._batch_size
        self.needs_memory = False

    def get_tensor_shape(self, name: str) -> Any:
        if name in self.described.inputs:
            return self.module.Dims(self.shapes[name])
        shape = self.described.outputs[name].shape
        is_known = name not in self.described.depends_on_data
        sides = [self._batch_size if is_known and side == -1 else side for side in shape]
        return self.module.Dims(sides)

    def get_max_output_size(self, name: str) -> int:
        return 64

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert name not in self.addresses, f"the address of {name} is set twice"
        assert memory % 256 == 0 or name in self.described.on_host
        self.addresses[name] = memory
        return memory != 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        known = {**self.described.inputs, **self.described.outputs}
        assert set(self.addresses) == set(known)
        assert not self.needs_memory
        if self.described.submit is not None:
            self.described.submit(stream_handle, self._compute)
        profiler = getattr(self, "profiler", None)
        if profiler is not None:
            profiler.report_layer_time("features", 0.25)
        return self.script.runs

    @property
    def _batch_size(self) -> int:
        first = next(iter(self.described.inputs))
        return self.shapes[first][0]

    def _compute(self) -> None:
        fed = {
            name: _memory(self.addresses[name], self.shapes[name], tensor.kind).copy()
            for name, tensor in self.described.inputs.items()
        }
        for name, value in self.described.compute(fed).items():
            tensor = self.described.outputs[name]
            target = _memory(self.addresses[name], list(self.get_tensor_shape(name)), tensor.kind)
            target[...] = value


def _memory(address: int, shape: list[int], kind: str) -> Any:
    dtype = np.dtype(NUMPY[kind])
    num_bytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    raw = (ctypes.c_uint8 * num_bytes).from_address(address)
    return np.frombuffer(raw, np.uint8).view(dtype).reshape(shape)


class _Inspector(_Behaviour):
    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        assert format == self.module.LayerInformationFormat.JSON
        return self.script.layers


_BEHAVIOURS: dict[str, Any] = {
    "Builder": _Builder,
    "EngineInspector": _Inspector,
    "IBuilderConfig": _Config,
    "ICudaEngine": _Engine,
    "IExecutionContext": _Context,
    "INetworkDefinition": _Behaviour,
    "IOptimizationProfile": _Profile,
    "IPluginRegistry": _Registry,
    "ITimingCache": _Cache,
    "OnnxParser": _Parser,
    "Runtime": _Runtime,
}
