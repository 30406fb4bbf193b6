"""Parts of frames, crops and several models: the pipeline gives what a direct call gives."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import edgecv
from edgecv.errors import InputError
from edgecv.output_spec import ProbabilitiesOutput
from edgecv.placement import Placement
from edgecv.results import Classification, Detections, ModelResults, Result
from edgecv.spec import InputSpec, ModelSpec, ProposalsSpec
from edgecv.stream.crops import Cascade, OnCrops
from edgecv.stream.interest import RegionOfInterest
from edgecv.stream.models import Models, assembled, names_of_files, parse_roi
from edgecv.stream.pipeline import Pipeline, StreamResult
from edgecv.stream.runner import Runner, as_runner, run_once
from edgecv.stream.sources import Frame
from edgecv.stream.tiling import Tiled

Fake = Any  # the classes of conftest.py, which no test can import

SIZE_HW = (20, 26)


@pytest.fixture
def noise_source(fake_source: Fake) -> Callable[..., Any]:
    """A source of noise, no two frames alike."""

    class NoiseSource(fake_source):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for frame in super().__iter__():
                rng = np.random.default_rng(frame.index)
                pixels = rng.integers(0, 20, (*SIZE_HW, 3)).astype(np.uint8)
                yield replace(frame, pixels=pixels)

    return NoiseSource


@pytest.fixture
def model_of(fake_model: Fake) -> Callable[..., Any]:
    """A function that makes a fake model, which may have its frames fitted on a device."""

    class Configured(fake_model):  # type: ignore[misc]
        def __init__(
            self, max_batch: int = 1, *, prefers_batches: bool = False, is_staging: bool = False
        ) -> None:
            super().__init__()
            self.max_batch, self.prefers_batches = max_batch, prefers_batches
            self.is_staging = self.answers_later = is_staging
            self.run_sizes: list[int] = []

        def stages(self, _format: str) -> bool:
            return bool(self.is_staging)

        def fit(self, frame: Any, *, out: Any = None, **options: Any) -> Any:
            assert (out is None) == self.is_staging
            image, placement = super().fit(frame, out=out, **options)
            return ((image,) if self.is_staging else image), placement

        def infer(self, batch: Any) -> Mapping[str, Any]:
            if self.is_staging:
                frames = batch if isinstance(batch, list) else [batch]
                batch = np.concatenate([image for (image,) in frames])
            self.run_sizes.append(len(batch))
            return {"output0": batch.copy()}

        def with_thresholds(self, **thresholds: Any) -> Any:
            other = Configured(self.max_batch)
            other.spec = self.spec.with_postprocess(score_threshold=thresholds["score"])
            return other

    return Configured


class Brightness:
    """A classifier of how bright an image is: dark or light."""

    spec = ModelSpec("classify", ("dark", "light"), InputSpec("images", (4, 4)),
                     ProbabilitiesOutput("out"))  # fmt: skip
    answers_later, num_requests, prefers_batches = False, 1, True
    max_batch, backend = 4, "other"

    def __init__(self) -> None:
        self.num_images = 0

    def stages(self, _format: str) -> bool:
        return False

    def fit(self, pixels: Any, *, out: NDArray[np.float32], **_: Any) -> tuple[Any, Placement]:
        out[:] = pixels.mean() / 255
        return out[None], Placement.of(pixels.shape[:2], (4, 4), "stretch")

    def infer(self, batch: NDArray[np.float32]) -> Mapping[str, Any]:
        self.num_images += len(batch)
        return {"out": batch[:, 0, 0, 0].copy()}

    def backend_of(self, _outputs: Mapping[str, Any]) -> str:
        return self.backend

    def finish(self, outputs: Mapping[str, Any], _: Placement) -> Classification:
        (light,) = outputs["out"]
        return Classification(np.array([1 - light, light], np.float32))


def same(result: Result, expected: Result) -> bool:
    """Whether two results are of one kind and say the same."""
    assert type(result) is type(expected)
    if isinstance(result, ModelResults) and isinstance(expected, ModelResults):
        pairs = zip(result.results.items(), expected.results.items(), strict=True)
        return all(a == b and same(x, y) for (a, x), (b, y) in pairs)
    if isinstance(result, Classification) and isinstance(expected, Classification):
        return bool((result.probabilities == expected.probabilities).all())
    names = ("even", "odd")
    return result.to_records(names) == expected.to_records(names)


def assert_all_accounted(pipeline: Pipeline, results: list[StreamResult]) -> None:
    for name, account in pipeline.accounts.items():
        counts = account.counts()
        of_source = [result.frame.index for result in results if result.source == name]
        assert of_source == sorted(set(of_source))
        assert counts.delivered == len(of_source)
        assert counts.decoded == counts.delivered + counts.num_dropped


runners = st.sampled_from(["whole", "tiled", "roi", "tiled roi", "cascade", "several"])


# The fixtures give classes, which keep nothing.
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=runners,
    num_frames=st.integers(1, 6),
    num_sources=st.integers(1, 3),
    network=st.fixed_dictionaries(
        {"prefers_batches": st.booleans(), "is_staging": st.booleans()},
    ),
    most=st.tuples(st.integers(1, 7), st.none() | st.integers(1, 5)),
)
def test_a_pipeline_gives_what_a_direct_call_gives(
    noise_source: Fake,
    model_of: Fake,
    kind: str,
    num_frames: int,
    num_sources: int,
    network: dict[str, bool],
    most: tuple[int, int | None],
) -> None:
    def model() -> Any:
        return model_of(most[0], **network)

    def tiled() -> Tiled:
        return Tiled(model(), tile_hw=(8, 10), overlap=0.3)

    runner: Any = {
        "whole": model,
        "tiled": tiled,
        "roi": lambda: RegionOfInterest(model(), (4, 2, 22, 19)),
        "tiled roi": lambda: RegionOfInterest(tiled(), (0.2, 0.1, 1, 0.9), is_relative=True),
        "cascade": lambda: Cascade(tiled(), {"light": OnCrops(Brightness(), min_side=3)}),  # type: ignore[arg-type]
        "several": lambda: {"a": model(), "b": tiled(), "c": Brightness()},
    }[kind]()
    sources = [noise_source(num_frames) for _ in range(num_sources)]
    with Pipeline(sources, runner, max_batch=most[1]) as pipeline:
        results = list(pipeline.results())
    assert len(results) == num_frames * num_sources
    assert_all_accounted(pipeline, results)
    for result in results:
        assert same(result.result, run_once(as_runner(runner), result.frame))


def test_tiles_of_several_sources_share_a_batch(noise_source: Fake, model_of: Fake) -> None:
    model = model_of(16, prefers_batches=True)
    tiled = Tiled(model, tile_hw=(20, 16), overlap=0.2, with_whole=False)  # two tiles
    sources = [noise_source(5) for _ in range(3)]
    with Pipeline(sources, tiled, budget_ms=3.6e6) as pipeline:
        assert len(list(pipeline.results())) == 15
    assert set(model.run_sizes) == {6}


def test_a_processor_is_given_one_tile_at_a_time(noise_source: Fake, model_of: Fake) -> None:
    model = model_of(16)
    with Pipeline(noise_source(3), Tiled(model, tile_hw=(20, 16))) as pipeline:
        assert len(list(pipeline.results())) == 3
    assert model.run_sizes == [1] * 9  # two tiles and the whole


def test_a_session_may_change_between_two_tiles(noise_source: Fake, model_of: Fake) -> None:
    """The tiles before are fitted once more, and no frame is lost or seen twice."""

    class Changing(model_of):  # type: ignore[misc, valid-type]
        num_fitted = 0

        def fit(self, frame: Any, **options: Any) -> Any:
            self.num_fitted += 1
            if self.num_fitted == 8:  # the second tile of the third frame
                self.is_staging = self.answers_later = True
                options["out"] = None
            return super().fit(frame, **options)

        def infer(self, batch: Any) -> Mapping[str, Any]:
            if isinstance(batch, np.ndarray):
                return {"output0": batch.copy()}
            outputs: Mapping[str, Any] = super().infer(batch)
            return outputs

    model = Changing(16, prefers_batches=True)
    tiled = Tiled(model, tile_hw=(20, 16))
    with Pipeline(noise_source(9), tiled, max_batch=4, budget_ms=20) as pipeline:
        results = list(pipeline.results())
    assert [result.frame.index for result in results] == list(range(9))
    assert all(same(result.result, tiled(result.frame)) for result in results)


def test_a_region_outside_of_the_frame_is_a_failed_frame(
    noise_source: Fake, model_of: Fake
) -> None:
    outside = RegionOfInterest(model_of(), (100, 0, 120, 9))
    with (
        Pipeline(noise_source(5), outside, max_batch=2) as pipeline,
        pytest.raises(InputError, match="outside of the frame of 20 x 26 pixels"),
    ):
        list(pipeline.results())
    (account,) = pipeline.accounts.values()
    failed = [drop for drop in account.recent_drops() if drop.reason.value == "failed"]
    assert [(drop.index, drop.stage) for drop in failed] == [(0, "fit")]
    assert account.counts().decoded == account.counts().num_dropped


def test_several_models_see_each_frame_once(noise_source: Fake, model_of: Fake) -> None:
    first, light = model_of(), Brightness()
    (results,) = [list(edgecv.stream(noise_source(4), {"first": first, "light": light}))]  # type: ignore[operator]
    assert [result.frame.index for result in results] == [0, 1, 2, 3]
    assert light.num_images == 4
    for result in results:
        assert list(result.results) == ["first", "light"]
        assert isinstance(result.results["first"], Detections)
        assert isinstance(result.results["light"], Classification)
        stages = ["decode", "fit", "infer first", "infer light", "postprocess", "deliver"]
        assert [entry[0] for entry in result.ledger.entries] == stages
        assert result.ledger.backend == "fake cpu + other"
        moments = result.ledger.moments_s
        assert moments["inferred"] == result.ledger.entries[3][2]
        with pytest.raises(TypeError, match=r"there must be one model.*of first, light"):
            _ = result.detections


def test_one_model_has_one_result(noise_source: Fake, model_of: Fake) -> None:
    (result,) = edgecv.stream(noise_source(1), model_of())  # type: ignore[operator]
    assert result.results == {"": result.result}


def test_a_second_model_has_its_own_stage(noise_source: Fake, model_of: Fake) -> None:
    light = OnCrops(Brightness(), min_side=1)  # type: ignore[arg-type]
    (result,) = edgecv.stream(noise_source(1), Cascade(model_of(), {"light": light}))  # type: ignore[operator]
    entries = {stage: (begin, end) for stage, begin, end in result.ledger.entries}
    assert list(entries) == ["decode", "fit", "infer", "postprocess", "light", "deliver"]
    # The result is complete with the second model.
    whole_ms = (entries["light"][1] - result.ledger.captured_s) * 1e3
    assert result.ledger.latency_ms == pytest.approx(whole_ms)
    told = result.detections.attributes["light"]
    x1, y1, x2, y2 = result.detections.boxes_xyxy[0].astype(int)
    margin_x, margin_y = (x2 - x1) // 10 + 1, (y2 - y1) // 10 + 1
    crop = result.frame.pixels[y1 - 1 : y2 + margin_y, max(0, x1 - margin_x) : x2 + margin_x]
    assert told.results[0].probabilities[1] == pytest.approx(crop.mean() / 255, abs=0.01)
    assert told.labels() == [f"dark {told.scores[0]:.2f}"]


def test_cascades_beside_others(noise_source: Fake, model_of: Fake) -> None:
    two = {"x": OnCrops(Brightness()), "y": Brightness()}
    models = {"a": Cascade(model_of(), two), "b": model_of()}  # type: ignore[arg-type]
    (result,) = edgecv.stream(noise_source(1), models)  # type: ignore[operator]
    assert list(result.results["a"].attributes) == ["x", "y"]
    assert result.results["b"].attributes == {}
    stages = [entry[0] for entry in result.ledger.entries]
    assert stages[-4:] == ["postprocess", "a x", "a y", "deliver"]


def test_a_second_model_that_fails_is_accounted_for(noise_source: Fake, model_of: Fake) -> None:
    class Broken(Brightness):
        def infer(self, batch: NDArray[np.float32]) -> Mapping[str, Any]:
            if self.num_images == 2:
                raise ZeroDivisionError("second model broke")
            return super().infer(batch)

    results = []
    cascade = Cascade(model_of(), {"light": OnCrops(Broken(), min_side=1)})  # type: ignore[arg-type]
    with (
        Pipeline(noise_source(8), cascade) as pipeline,
        pytest.raises(ZeroDivisionError, match="second model broke"),
    ):
        results.extend(pipeline.results())
    assert [result.frame.index for result in results] == [0, 1]
    assert_all_accounted(pipeline, results)
    (account,) = pipeline.accounts.values()
    failed = [drop for drop in account.recent_drops() if drop.reason.value == "failed"]
    assert [(drop.index, drop.stage) for drop in failed] == [(2, "light")]


@pytest.mark.parametrize("kind", ["tiled", "roi", "cascade", "several"])
def test_other_thresholds_reach_every_detector(model_of: Fake, kind: str) -> None:
    light: Any = Brightness()
    runner: Runner = {
        "tiled": lambda: Tiled(model_of(), overlap=0.4),
        "roi": lambda: RegionOfInterest(Tiled(model_of()), (0, 0, 9, 9)),
        "cascade": lambda: Cascade(model_of(), {"light": light}),
        "several": lambda: Models({"a": model_of(), "b": Tiled(model_of()), "c": light}),
    }[kind]()
    changed = runner.with_thresholds(score=0.75)
    assert type(changed) is type(runner)
    for look in changed.looks:
        if look.model is not light:
            assert look.model.spec.postprocess.score_threshold == 0.75
    assert [step.name for step in changed.steps] == [step.name for step in runner.steps]


def test_real_models_through_the_pipeline(
    exported: Path, exported_classifier: Path, scenes: Path
) -> None:
    pictures = sorted((scenes / "test").glob("*.png"))
    with (
        edgecv.load(exported / "raw.onnx") as detector,
        edgecv.load(exported_classifier / "raw.onnx") as classifier,
    ):
        low = detector.with_thresholds(score=0.05)
        runners: list[Any] = [
            Tiled(low, tile_hw=(64, 80)),
            RegionOfInterest(low, (0.25, 0.25, 1, 1), is_relative=True),
            Cascade(low, {"shape": classifier}),
        ]
        for runner in runners:
            results = list(edgecv.stream(pictures, runner))  # type: ignore[operator]
            assert [result.frame.path for result in results] == pictures
            assert sum(len(result.detections) for result in results) > 0
            for result in results:
                found, expected = result.detections, runner(result.frame)
                np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
                np.testing.assert_array_equal(found.scores, expected.scores)
                for name, told in expected.attributes.items():
                    ids = found.attributes[name].class_ids
                    np.testing.assert_array_equal(ids, told.class_ids)
                    assert (ids >= 0).any()


def test_refuses_what_cannot_be_run_so(model_of: Fake) -> None:
    light: Any = Brightness()
    model: Any = model_of()
    proposing: Any = model_of()
    proposing.spec = replace(proposing.spec, proposals=ProposalsSpec("rois", 2))
    for make, function in (
        (lambda: Tiled(proposing), "tiling"),
        (lambda: RegionOfInterest(proposing, (0, 0, 9, 9)), "region of interest"),
        (lambda: OnCrops(proposing), "crops"),
    ):
        with pytest.raises(InputError, match=f"^{function}: a model that looks at regions propo"):
            make()
    with pytest.raises(InputError, match="cascade: the first model must find objects, got one of"):
        Cascade(light, {"again": light})
    with pytest.raises(InputError, match="must find objects, got several models"):
        Cascade(Models({"a": model, "b": model}), {"light": light})
    with pytest.raises(InputError, match="cascade: `then` is empty"):
        Cascade(model, {})
    for name in ("", "fit", "draw it"):
        with pytest.raises(InputError, match=f"name that no stage has, got '{name}'"):
            Cascade(model, {name: light})
        with pytest.raises(InputError, match=f"name that no stage has, got '{name}'"):
            Models({name: model})
    with pytest.raises(InputError, match="models: there is none"):
        Models({})
    with pytest.raises(InputError, match="models: `a` must be a single one, got several"):
        Models({"a": Models({"b": model, "c": model})})
    with pytest.raises(InputError, match=r"region of interest: a single model.*got Cascade"):
        RegionOfInterest(Cascade(model, {"light": light}), (0, 0, 9, 9))


def test_what_a_command_line_asks_for(model_of: Fake) -> None:
    model: Any = model_of()
    light: Any = Brightness()
    assert assembled(model) is model
    tiled = assembled(model, tile=640, overlap=0.4)
    assert isinstance(tiled, Tiled)
    assert (tiled.tile_hw, tiled.overlap) == ((640, 640), 0.4)
    assert parse_roi("0.5, 0, 1, 1") == (0.5, 0, 1, 1)
    everything = assembled(model, tile=8, then={"light": light})
    assert isinstance(everything, Cascade)
    found = everything(Frame(0, np.full((*SIZE_HW, 3), 9, np.uint8), "bgr24"))
    assert len(found.attributes["light"]) == len(found) > 0
    with pytest.raises(InputError, match=r"`overlap` is that of tiles, got 0\.4 without any"):
        assembled(model, overlap=0.4)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", ""])
def test_refuses_a_region_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match=f"`roi` must be four numbers, x1,y1,x2,y2, got `{text}`"):
        parse_roi(text)


def test_model_files_are_named_by_their_stems() -> None:
    assert names_of_files(["a/breed.onnx", "b/age.onnx"]) == {
        "breed": "a/breed.onnx",
        "age": "b/age.onnx",
    }
    with pytest.raises(InputError, match=r"`a/x.onnx` and `b/x.edgecv` would both be `x`"):
        names_of_files(["a/x.onnx", "b/x.edgecv"])
