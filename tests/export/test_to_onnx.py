"""An exported file describes itself, matches PyTorch, and is not kept if it does not."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edgecv.errors import InputError, OutputError, ParityError  # noqa: E402
from edgecv.export.comparison.parity import Tolerance, compare  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: E402
from edgecv.images import read_image  # noqa: E402
from edgecv.models.fused import FusedTorchSession  # noqa: E402
from edgecv.models.session import TorchSession  # noqa: E402
from edgecv.runtime.model import Model, load  # noqa: E402
from edgecv.runtime.onnxruntime import OnnxruntimeSession  # noqa: E402
from edgecv.train.checkpoint import Trained, load_trained  # noqa: E402


@pytest.fixture(scope="module")
def trained(trained_run: Path) -> Trained:
    return load_trained(trained_run / "best.pt")


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[Path]:
    return sorted((scenes / "test").glob("*.png"))


def batch_of(model: Model, images: list[Path]) -> Any:
    return np.concatenate([model.fit(read_image(path), format="rgb24")[0] for path in images])


def test_fused_and_raw_files_report_the_same(exported: Path, images: list[Path]) -> None:
    with load(exported / "fused.onnx") as fused, load(exported / "raw.onnx") as raw:
        total = 0
        for path in images:
            ours, theirs = fused(path), raw(path)
            total += len(ours)
            np.testing.assert_array_equal(ours.class_ids, theirs.class_ids)
            np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
            np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-2)
        assert total > 0


def test_thresholds_are_inputs_with_defaults(exported: Path, images: list[Path]) -> None:
    with load(exported / "fused.onnx") as model:
        few, many = model.with_thresholds(score=0.6), model.with_thresholds(score=0.01, iou=0.9)
        counts = [len(each(images[0])) for each in (few, model, many)]
        assert counts == sorted(counts)
        assert counts[0] < counts[2]
        assert all(few(images[0]).scores > 0.6)
        assert len(model.with_thresholds(score=0.01, max_detections=3)(images[0])) == 3


def test_the_file_is_plain_and_complete(exported: Path) -> None:
    model = onnx.load(exported / "fused.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 10
    assert {(entry.domain, entry.version) for entry in model.opset_import} >= {
        ("", 20),
        ("edgecv", 1),
    }
    assert [node.op_type for node in model.graph.node][-1] == "EdgeNMS"
    assert [function.name for function in model.functions] == ["EdgeNMS"]
    spec = json.loads({entry.key: entry.value for entry in model.metadata_props}["edgecv.spec"])
    assert spec["output"]["format"] == "fused"
    assert spec["provenance"]["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_any_batch_runs_and_rows_do_not_mix(exported: Path, images: list[Path]) -> None:
    with load(exported / "fused.onnx") as model:
        batch = batch_of(model, images[:3])
        together = model.infer(batch)
        for row in range(3):
            alone = model.infer(batch[row : row + 1])
            count = int(alone["num_detections"][0])
            assert int(together["num_detections"][row]) == count
            for name in ("boxes", "scores"):
                np.testing.assert_allclose(together[name][row], alone[name][0], atol=1e-3)


def test_a_fixed_batch_and_the_older_opset(
    trained: Trained, images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "fixed.onnx"
    options = ExportOptions(head="fused", opset=19, batch=2, max_detections=7)
    report = export_onnx(
        trained.network, trained.spec, path, images[:2], options=options, tolerance=Tolerance()
    )
    assert report.num_images == 2
    assert report.num_matched > 0  # one image at a time, though the graph takes two
    session = OnnxruntimeSession(path, "cpu")
    for num_images in (1, 2):
        outputs = session.run(np.zeros((num_images, 3, 96, 128), np.float32))
        assert outputs["boxes"].shape == (num_images, 7, 4)
    assert {entry.version for entry in onnx.load(path).opset_import if not entry.domain} == {19}


def test_nothing_is_written_beyond_the_tolerance(
    trained: Trained, images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("an older export")
    with pytest.raises(ParityError, match=r"output `(boxes|scores)` differs by .*Nothing was"):
        export_onnx(
            trained.network,
            trained.spec,
            path,
            images[:1],
            options=ExportOptions(),
            tolerance=Tolerance(relative=0.0),
        )
    assert path.read_text() == "an older export"
    assert list(tmp_path.iterdir()) == [path]


def test_parity_needs_images_and_a_place(
    trained: Trained, images: list[Path], tmp_path: Path
) -> None:
    def export(path: Path, compared: list[Path]) -> None:
        export_onnx(
            trained.network,
            trained.spec,
            path,
            compared,
            options=ExportOptions(head="raw"),
            tolerance=Tolerance(),
        )

    with pytest.raises(InputError, match="got none"):
        export(tmp_path / "model.onnx", [])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        export(tmp_path / "file" / "model.onnx", images[:1])


def test_a_batch_that_tracing_fixes_is_noticed(trained: Trained, tmp_path: Path) -> None:
    class Fixed(type(trained.network)):  # type: ignore[misc]
        def forward(self, images: Any) -> Any:
            offsets, logits = super().forward(images)
            return offsets.reshape(len(images), -1, 4), logits

    detector = copy.deepcopy(trained.network)
    detector.__class__ = Fixed
    with pytest.raises(RuntimeError, match=r"Fixed makes its batch size a constant"):
        export_onnx(
            detector,
            trained.spec,
            tmp_path / "model.onnx",
            [tmp_path],
            options=ExportOptions(head="raw"),
            tolerance=Tolerance(),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", ["raw", "fused"])
def test_parity_notices_one_wrong_weight(
    trained: Trained, trained_run: Path, exported: Path, images: list[Path], head: str
) -> None:
    wrong = load_trained(trained_run / "best.pt").network
    with torch.no_grad():
        bias = wrong.get_parameter("offset_heads.1.1.bias")
        bias.add_(0.3)
    kind = FusedTorchSession if head == "fused" else TorchSession
    with load(exported / f"{head}.onnx") as candidate:
        honest = compare(Model(kind(trained.network, candidate.spec)), candidate, images)
        report = compare(Model(kind(wrong, candidate.spec)), candidate, images)
    assert honest.violations(Tolerance()) == []
    assert report.violations(Tolerance()) != []


def test_a_network_is_traced_out_of_place_and_left_as_it_was() -> None:
    from edgecv.export.to_onnx import _out_of_place

    network = torch.nn.Sequential(torch.nn.ReLU6(inplace=True), torch.nn.ReLU())

    def fail_while_tracing() -> None:
        with _out_of_place(network):
            assert [part.inplace for part in network] == [False, False]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_while_tracing()
    assert [part.inplace for part in network] == [True, False]
