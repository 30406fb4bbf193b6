"""Does a target run this graph? Per operator, with the reason and the rewrite where one is known.

onnxruntime is asked itself; TensorRT, which needs a GPU to be asked, is answered for by
`edgecv.export.inspection.tensorrt_operators`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, inliner

from edgecv.export.graphs.fixed_shapes import with_shapes
from edgecv.export.graphs.model_file import opset_of
from edgecv.export.graphs.nodes import name_of, operator_of
from edgecv.export.inspection.operand import Remark, Verdict, Version
from edgecv.export.inspection.shape_sources import ShapeSources
from edgecv.export.inspection.tensorrt_operators import remarks_on, remarks_on_opset
from edgecv.export.operators.edge_nms import DOMAIN
from edgecv.export.operators.plugin_nodes import plugin_problems

Target = Literal["onnxruntime", "tensorrt-10.3", "tensorrt-10.13", "tensorrt-11"]
TARGETS: tuple[Target, ...] = get_args(Target)

THE_FILE = "the file"  # what a finding is about that no operator is to blame for
_VERSIONS: dict[Target, Version] = {
    "tensorrt-10.3": (10, 3),
    "tensorrt-10.13": (10, 13),
    "tensorrt-11": (11, 0),
}
_BODY_AFTER_PLUGIN: Version = (10, 7)  # from here on a plugin goes before a body of its name
_SEVERITY: tuple[Verdict, ...] = ("supported", "plugin", "limited", "unsupported")
_VERBS = {"unsupported": "refuses", "limited": "takes with a reservation"}
_NO_NOTES = 4  # onnxruntime's severity: fatal only
_IR_VERSION = 10  # of files made here to ask with
_TENSORS_OF_GRAPHS = ("If", "Loop", "Scan")


@dataclass(frozen=True)
class Finding:
    """What a target has against some nodes of one operator.

    Args:
        operator: its name, with the domain where it is not ONNX's own, or `the file`.
        verdict: `limited` runs under a condition, `plugin` with edgecv's plugin library.
        reason: why it is not simply supported.
        remedy: what to do, empty where nothing is known.
        nodes: their names.

    """

    operator: str
    verdict: Verdict
    reason: str
    remedy: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Support:
    """What a target makes of a graph; an operator without a finding is supported."""

    target: Target
    version: str
    findings: tuple[Finding, ...]

    @property
    def is_runnable(self) -> bool:
        """Whether nothing is unsupported."""
        return all(finding.verdict != "unsupported" for finding in self.findings)

    def verdict(self, operator: str) -> Verdict:
        """Return the gravest verdict on an operator."""
        found = [entry.verdict for entry in self.findings if entry.operator == operator]
        return max(found, key=_SEVERITY.index, default="supported")

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and lists."""
        return {**asdict(self), "is_runnable": self.is_runnable}


def support(model: onnx.ModelProto, path: Path, target: Target) -> Support:
    """Return what `target` makes of the graph.

    Operators inside the body of a function count where the body is what runs: always for
    onnxruntime, and for TensorRT unless it is an operator of edgecv, for which there is a plugin.

    Args:
        model: as `edgecv.export.graphs.model_file.read_onnx` returns it.
        path: the file that it was read from.
        target: see `Target`; `tensorrt-10.13` speaks for 10.13 and newer ones of 10.

    """
    if target == "onnxruntime":
        return Support(target, onnxruntime.__version__, _group(_onnxruntime(model, path)))
    return _by_rules(model, with_shapes(model), target)


def tensorrt_support(model: onnx.ModelProto) -> tuple[Support, ...]:
    """Return what each known parser of TensorRT makes of the graph, the oldest first."""
    shaped = with_shapes(model)
    return tuple(_by_rules(model, shaped, target) for target in _VERSIONS)


def refusals(answer: Support) -> list[str]:
    """Return why a target does not run a graph, a sentence or two for each operator."""
    return [_in_words(entry) for entry in answer.findings if entry.verdict == "unsupported"]


def reservations(answers: Sequence[Support]) -> list[str]:
    """Return what some targets do not run, or only under a condition, and which they are."""
    targets: dict[Finding, list[str]] = defaultdict(list)
    for answer in answers:
        for finding in answer.findings:
            if finding.verdict in ("unsupported", "limited"):
                targets[finding].append(answer.version)
    return [
        f"TensorRT {', '.join(versions)} {_VERBS[finding.verdict]} {_in_words(finding)}."
        for finding, versions in targets.items()
    ]


def _in_words(finding: Finding) -> str:
    named = [name for name in finding.nodes if name]
    more = f" and {len(named) - 1} more" if len(named) > 1 else ""
    place = f"node `{named[0]}`{more} ({finding.operator})" if named else finding.operator
    remedy = f". {finding.remedy[0].upper()}{finding.remedy[1:]}" if finding.remedy else ""
    return f"{place}: {finding.reason}{remedy}"


def _by_rules(model: onnx.ModelProto, shaped: ir.Model, target: Target) -> Support:
    version = _VERSIONS[target]
    return Support(target, ".".join(map(str, version)), _group(_tensorrt(model, shaped, version)))


Remarked = tuple[str, str, Remark]  # an operator, a node and what is said of it


def _group(remarks: Iterable[Remarked]) -> tuple[Finding, ...]:
    """Join what is said of several nodes in the same words, the gravest first."""
    nodes: dict[tuple[str, Remark], list[str]] = defaultdict(list)
    for operator, name, remark in remarks:
        nodes[operator, remark].append(name)
    found = [
        Finding(operator, remark.verdict, remark.reason, remark.remedy, tuple(names))
        for (operator, remark), names in nodes.items()
    ]
    return tuple(sorted(found, key=lambda entry: -_SEVERITY.index(entry.verdict)))


def _tensorrt(model: onnx.ModelProto, shaped: ir.Model, version: Version) -> Iterable[Remarked]:
    opset = opset_of(model)
    for remark in remarks_on_opset(opset, version):
        yield THE_FILE, "", remark
    bodies = Counter((entry.domain, entry.name) for entry in model.functions)
    sources = ShapeSources(shaped.graph)
    for node in shaped.graph.all_nodes():
        operator, name = operator_of(node), name_of(node)
        if node.domain == DOMAIN:
            remarks = _on_plugin(node, bodies[node.domain, node.op_type], version)
        elif operator == node.op_type:
            remarks = remarks_on(node, version, opset) + sources.remarks_on(node)
        else:
            reason = f"the domain `{node.domain}` is unknown to the parser"
            remedy = f"write it in ONNX's operators, or load a plugin named `{node.op_type}`"
            remarks = [Remark("unsupported", reason, remedy)]
        for remark in remarks:
            yield operator, name, remark


def _on_plugin(node: ir.Node, num_bodies: int, version: Version) -> list[Remark]:
    """Return what is to be said of a node of edgecv's."""
    proto = ir.serde.serialize_node(node)
    problems = [
        Remark("unsupported", f"it {reason}", remedy or "make it with `--target tensorrt`")
        for reason, remedy in plugin_problems(proto)
        # A definition runs in its place, and with it goes what only a plugin needs.
        if not num_bodies
    ]
    return problems or [_plugin(num_bodies, version)]


def _plugin(num_bodies: int, version: Version) -> Remark:
    """Return what is to be said of an operator of edgecv that has so many definitions."""
    reason = "edgecv's plugin library runs it"
    remedy = "`edgecv export --target tensorrt` leaves the file's definition out"
    if num_bodies == 0:
        return Remark("plugin", reason)
    if version >= _BODY_AFTER_PLUGIN:
        return Remark("plugin", f"{reason}, not the file's own definition", remedy)
    if num_bodies == 1:
        reason += ", but this parser takes the file's own definition of it first"
        return Remark("plugin", reason, remedy)
    reason = f"this parser takes one of the file's {num_bodies} definitions of it for every node"
    return Remark("unsupported", reason, remedy)


def _onnxruntime(model: onnx.ModelProto, path: Path) -> Iterable[Remarked]:
    """Ask onnxruntime; where it refuses the file, ask about one operator at a time."""
    whole = _refusal(str(path))
    if whole is None:
        return
    whole_graph = inliner.inline_local_functions(model) if model.functions else model
    opset = opset_of(model)
    is_found = False
    answers: dict[bytes, str | None] = {}
    for node in with_shapes(whole_graph).graph.all_nodes():
        if node.op_type in _TENSORS_OF_GRAPHS:
            continue  # what they hold is asked about by itself
        asked = _alone(node, opset)
        if asked not in answers:
            answers[asked] = _refusal(asked)
        reason = answers[asked]
        if reason is not None:
            is_found = True
            yield operator_of(node), name_of(node), Remark("unsupported", reason, _advice(node))
    if not is_found:
        remedy = ""
        if "IR version" in whole:
            remedy = f"save it with IR version {_IR_VERSION}, or update onnxruntime"
        elif "opset" in whole.lower():
            remedy = "export it with an older opset, or update onnxruntime"
        yield THE_FILE, "", Remark("unsupported", whole, remedy)


def _advice(node: ir.Node) -> str:
    if node.domain in ("", "ai.onnx"):
        return "export with another opset or type"
    return "give the file a definition of it (a function), or use ONNX's operators"


def _refusal(model: str | bytes) -> str | None:
    """Return why onnxruntime does not open a file or its bytes, None if it does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _NO_NOTES
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # onnxruntime's errors share no public base class
        line = str(error).strip().splitlines()[0]
        return line.rsplit("] : ", 1)[-1].split(" : ", 2)[-1].rstrip(".")
    return None


def _alone(node: ir.Node, opset: int) -> bytes:
    """Return a file with nothing but a node like this one, its inputs of unknown shapes."""
    given, made = [], []
    proto = ir.serde.serialize_node(node)
    del proto.input[:]
    del proto.output[:]
    proto.name = ""
    for index, value in enumerate(node.inputs):
        if value is None:
            proto.input.append("")
            continue
        proto.input.append(f"input_{index}")
        kind = ir.DataType.FLOAT if value.dtype is None else value.dtype
        given.append(helper.make_tensor_value_info(f"input_{index}", int(kind), None))
    for index, value in enumerate(node.outputs):
        if not value.name:
            proto.output.append("")
            continue
        proto.output.append(f"output_{index}")
        made.append(onnx.ValueInfoProto(name=f"output_{index}"))
        if value.dtype is not None:
            made[-1] = helper.make_tensor_value_info(f"output_{index}", int(value.dtype), None)
    imports = [helper.make_opsetid("", opset)]
    if node.domain not in ("", "ai.onnx"):
        imports.append(helper.make_opsetid(node.domain, 1))
    graph = helper.make_graph([proto], "one node", given, made)
    file = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
    return bytes(file.SerializeToString())
