"""What TensorRT says: kept up to a limit, on one line each, and put in words with a remedy."""

import pytest

pytest.importorskip("onnx_ir")

from edgecv.export.engine.network import problem_in_words, rules_for
from edgecv.export.inspection.support import Finding, Target
from edgecv.runtime.tensorrt_messages import Messages

TOPK = Finding("TopK", "unsupported", "K is 5000", "take 3840", ("/head/TopK",))
PLUGIN = Finding("edgecv.EdgeNMS", "plugin", "edgecv's plugin library runs it", "", ("nms",))


@pytest.mark.parametrize(
    ("node", "operator", "code", "said"),
    [
        ("/head/TopK", "TopK", "INVALID_NODE", "node `/head/TopK` (TopK): it fails. Take 3840."),
        ("other", "TopK", "UNSUPPORTED_NODE_DYNAMIC", "it fails. Fix the shape: `edgecv export"),
        ("other", "Odd", "UNSUPPORTED_NODE", "it fails. `edgecv inspect` lists what this"),
        ("nms", "EdgeNMS", "UNSUPPORTED_NODE", "Load edgecv's plugins with `--plugins`."),
        ("", "", "MODEL_DESERIALIZE_FAILED", "it fails. Export the model again."),
    ],
)
def test_what_edgecv_knows_of_a_node_goes_before_what_its_code_says(
    node: str, operator: str, code: str, said: str
) -> None:
    text = "In function importNode:\n[8] it\nfails."
    found = problem_in_words(node, operator, code, text, (TOPK, PLUGIN))
    assert said in found
    assert "\n" not in found
    assert "importNode" not in found


@pytest.mark.parametrize(
    ("version", "target"),
    [
        ("10.3.0", "tensorrt-10.3"),
        ("10.12.0.36", "tensorrt-10.3"),
        ("10.13.3.9", "tensorrt-10.13"),
        ("10.16.1.11", "tensorrt-10.13"),
        ("11.4.0.106", "tensorrt-11"),
    ],
)
def test_rules_that_speak_for_a_version(version: str, target: Target) -> None:
    assert rules_for(version) == target


def test_messages_are_single_lines_and_not_without_end() -> None:
    messages = Messages()
    messages.add("error", "one\n  two")
    messages.note("three")
    for number in range(2000):
        messages.add("warning", str(number))
    assert messages.lines[:2] == ["error: one two", "note: three"]
    assert (messages.errors, messages.notes) == (["one two"], ["three"])
    assert len(messages.lines) == 1000
