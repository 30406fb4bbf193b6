"""A model ready for frames: fit, infer, finish, in one call or stage by stage."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.closing import Closing
from edgecv.errors import InputError
from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels
from edgecv.images import read_image
from edgecv.kernels import letterbox
from edgecv.output_spec import FusedOutput
from edgecv.placement import Placement
from edgecv.proposals import Proposals, as_input, propose
from edgecv.results import Result
from edgecv.runtime.postprocess import finish, refuse_unsupported
from edgecv.runtime.session import (
    Backend,
    Batch,
    BatchingSession,
    ComputePrecision,
    DeferringSession,
    FrameSession,
    Hint,
    Outputs,
    Session,
    open_session,
)
from edgecv.runtime.switching import BackendOutputs

if TYPE_CHECKING:
    import PIL.Image

    from edgecv.spec import ModelSpec


_OF_OBJECTS = ("detect", "instance", "keypoints")


class Model(Closing):
    """A model with everything around the network, driven by its description alone.

    Calling it runs `fit`, `infer` and `finish` one after the other; the stream runs the same three
    in threads of their own. All three may be called from several threads at once.
    """

    def __init__(self, session: Session) -> None:
        """Wrap an open session; closing the model closes it."""
        refuse_unsupported(session.spec)
        self.session = session
        self.spec: ModelSpec = session.spec
        self._fits_itself = session if isinstance(session, FrameSession) else None
        self.image_proposals: Proposals | None = None

    def __call__(
        self,
        image: "Path | str | Pixels | PIL.Image.Image",
        *,
        proposals: NDArray[np.float32] | None = None,
        format: FrameFormat = "bgr24",  # noqa: A002
        matrix: ColourMatrix = "bt601",
        range: ColourRange = "limited",  # noqa: A002
    ) -> Result:
        """Return what the model tells of one image, in the class of its task.

        That is `Detections` for task `detect`, `Instances` for `instance`, `Poses` for `keypoints`,
        `Segmentation` for `segment`, `Classification` for `classify`.

        Args:
            image: a file, a PIL image, or the pixels of a frame: an array (H, W, 3) uint8 of
                `bgr24` (as OpenCV reads) or `rgb24`, or another form of `edgecv.frame_formats`.
            proposals: see `propose`.
            format: of pixels.
            matrix: of YUV pixels.
            range: of YUV pixels.

        Raises:
            InputError: if the file cannot be read.
            TypeError: if the pixels are not uint8.
            ValueError: if their shape does not fit the format.

        """
        path = Path(image) if isinstance(image, str | Path) else None
        if isinstance(image, str | Path):
            frame: Pixels = read_image(image)
            format = "rgb24"  # noqa: A001
        elif isinstance(image, np.ndarray | tuple):
            frame = image
        else:
            frame, format = np.asarray(image.convert("RGB")), "rgb24"  # noqa: A001
        colours: dict[str, Any] = {"format": format, "matrix": matrix, "range": range}
        batch, placement = self.fit(frame, **colours)
        regions = self.propose(frame, placement, proposals, path=path, **colours)
        return self.finish(self.infer(batch, regions), placement)

    def fit(
        self,
        frame: Pixels,
        *,
        format: FrameFormat = "bgr24",  # noqa: A002
        matrix: ColourMatrix = "bt601",
        range: ColourRange = "limited",  # noqa: A002
        out: NDArray[Any] | None = None,
    ) -> tuple[Batch, Placement]:
        """Turn a frame of any format into the network's input, see `edgecv.kernels.letterbox`.

        Args:
            frame: array or tuple of planes, see `edgecv.frame_formats`.
            format: of its pixels.
            matrix: of YUV pixels.
            range: of YUV pixels.
            out: where to write the image, of `edgecv.runtime.session.input_shape`, such as a row
                of a batch; None for memory of its own. Left alone where `stages` the format.

        Returns:
            A batch of one image in the layout and type that the model's description asks for,
            such as [1, 3, h, w] float32, or what stands for it in a session that fits frames on a
            device; and where the frame lies in it.

        """
        session = self._fits_itself
        if session is not None and format in session.frame_formats:
            return session.stage(frame, format=format, matrix=matrix, range=range)
        wanted = self.spec.input
        tensor, placement = letterbox(
            frame,
            wanted.size_hw,
            format=format,
            matrix=matrix,
            range=range,
            fit=wanted.fit,
            colour=wanted.colour,
            scale=wanted.scale,
            mean=wanted.mean,
            std=wanted.std,
            pad=wanted.pad,
            dtype=wanted.dtype,
            layout="chw" if wanted.layout == "nchw" else "hwc",
            out=out,
        )
        return tensor[None], placement

    def stages(self, format: FrameFormat) -> bool:  # noqa: A002
        """Whether frames of a format are fitted by the session, on a device."""
        session = self._fits_itself
        return session is not None and format in session.frame_formats

    def propose(
        self,
        frame: Pixels,
        placement: Placement,
        boxes_xyxy: NDArray[np.float32] | None = None,
        *,
        path: Path | None = None,
        format: FrameFormat = "bgr24",  # noqa: A002
        matrix: ColourMatrix = "bt601",
        range: ColourRange = "limited",  # noqa: A002
    ) -> NDArray[np.float32] | None:
        """Return the regions of a frame for `infer`, None for a model that finds them itself.

        Args:
            frame: see `fit`.
            placement: what `fit` returned.
            boxes_xyxy: (P, 4) float32 in frame pixels, best first; None for those that
                `with_proposals` gave for `path`, else for those that the model's own method makes.
            path: the frame's file.
            format: see `fit`.
            matrix: see `fit`.
            range: see `fit`.

        Raises:
            InputError: if there are none for this frame, or the model takes none.
            MissingDependencyError: if the method needs a package that is not installed.

        """
        wanted = self.spec.proposals
        if wanted is None:
            if boxes_xyxy is not None:
                raise InputError("this model finds regions itself. Leave out `proposals`.")
            return None
        if boxes_xyxy is None and self.image_proposals is not None and path is not None:
            boxes_xyxy = self.image_proposals.of(path, placement.frame_hw)
        if boxes_xyxy is None and wanted.method is not None:
            pixels = rgb_pixels(frame, placement.frame_hw, format, matrix, range)
            boxes_xyxy = propose(wanted.method, pixels, wanted.count)
        if boxes_xyxy is None:
            raise InputError(
                "this model looks at regions that are proposed outside of it, and was given none. "
                "Call it with `proposals=boxes`, or give a file with `--proposals`."
            )
        boxes = np.asarray(boxes_xyxy, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4:  # noqa: PLR2004  # xyxy
            raise InputError(f"`proposals` must have the shape (P, 4), got {boxes.shape}.")
        return as_input(boxes, placement, wanted.count)

    @property
    def backend(self) -> str:
        """The session's, such as `onnxruntime cpu`; it may change, see `backend_of`."""
        return self.session.backend

    @property
    def max_batch(self) -> int:
        """How many images `infer` takes at once; 1 where their outputs cannot be told apart."""
        session = self.session
        return session.max_batch if isinstance(session, BatchingSession) else 1

    @property
    def prefers_batches(self) -> bool:
        """Whether several images at once take less time each.

        On a processor they do not: eight even took a fifth longer, since a cache holds one.
        """
        return re.search(r"\bcpu\b", self.backend) is None

    @property
    def answers_later(self) -> bool:
        """Whether `infer` returns before its outputs are there; who looks at one waits."""
        session = self.session
        is_deferring = isinstance(session, DeferringSession) and session.answers_later
        return self._fits_itself is not None or is_deferring

    @property
    def num_requests(self) -> int:
        """How many calls of `infer` may be under way at the same time."""
        session = self.session
        return session.num_requests if isinstance(session, DeferringSession) else 1

    def infer(self, batch: Batch, proposals: NDArray[np.float32] | None = None) -> Outputs:
        """Run the network on a batch as `fit` makes it and return its outputs by name.

        Args:
            batch: images.
            proposals: what `propose` returned.

        """
        output = self.spec.output
        if not isinstance(output, FusedOutput):
            return self.session.run(batch)
        wanted = self.spec.postprocess
        scalars = {
            output.score_threshold: wanted.score_threshold,
            output.iou_threshold: wanted.iou_threshold,
        }
        given = {name: value for name, value in scalars.items() if name is not None}
        if proposals is None:
            return self.session.run(batch, given)
        return self.session.run(batch, given, proposals)

    def backend_of(self, outputs: Outputs) -> str:
        """Return the backend that computed what `infer` returned: a session may change its own."""
        if isinstance(outputs, BackendOutputs):
            return outputs.backend
        return self.session.backend

    def finish(self, outputs: Outputs, placement: Placement) -> Result:
        """Turn the outputs of one frame into the result of its task, in that frame's pixels."""
        return finish(self.spec, outputs, placement)

    def with_thresholds(
        self,
        *,
        score: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
    ) -> "Model":
        """Return the same open model with other thresholds; what is None stays.

        Raises:
            InputError: if a `fused` graph fixed its threshold when it was exported, or the model
                finds no objects.

        """
        output = self.spec.output
        is_changed = any(value is not None for value in (score, iou, max_detections))
        if is_changed and self.spec.task not in _OF_OBJECTS:
            raise InputError(
                f"a model of task {self.spec.task} has no thresholds, got score {score} and IoU "
                f"{iou}. Leave them out."
            )
        if isinstance(output, FusedOutput):
            fixed = {
                "score": score is not None and output.score_threshold is None,
                "iou": iou is not None and output.iou_threshold is None,
            }
            for name, is_fixed in fixed.items():
                if is_fixed:
                    raise InputError(
                        f"the {name} threshold is fixed inside this graph. "
                        "Export it with `--head raw` to choose it here."
                    )
        other = Model(self.session)
        other.spec = self.spec.with_postprocess(
            score_threshold=score, iou_threshold=iou, max_detections=max_detections
        )
        other.image_proposals = self.image_proposals
        return other

    def with_proposals(self, proposals: Proposals) -> "Model":
        """Return the same open model that looks up the regions of image files.

        Raises:
            InputError: if the model finds regions itself.

        """
        if self.spec.proposals is None:
            raise InputError("this model finds regions itself. Leave out `--proposals`.")
        other = self.with_thresholds()
        other.image_proposals = proposals
        return other

    def close(self) -> None:
        """Close the session."""
        self.session.close()


def rgb_pixels(
    frame: Pixels,
    size_hw: tuple[int, int],
    format: FrameFormat,  # noqa: A002
    matrix: ColourMatrix,
    range: ColourRange,  # noqa: A002
) -> NDArray[np.uint8]:
    """Return a frame of `size_hw` in any format as RGB, (H, W, 3) uint8."""
    if format == "rgb24" and not isinstance(frame, tuple):
        return frame
    pixels, _ = letterbox(
        frame,
        size_hw,
        format=format,
        matrix=matrix,
        range=range,
        fit="stretch",  # to its own size: only the colours change
        scale=1,
        dtype="uint8",
        layout="hwc",
    )
    return pixels


def load(
    path: Path | str,
    device: str = "auto",
    *,
    threads: int = 0,
    backend: Backend = "auto",
    precision: ComputePrecision | None = None,
    hint: Hint | None = None,
    cache: Path | None = None,
) -> Model:
    """Open a model file, ready to be called with images.

    Args:
        path: an ONNX file with an edgecv description, or a bundle, of which the entry is taken
            that suits this machine best (`b.edgecv`), or the one of a name (`b.edgecv#fp16`); or
            a model of a Triton Inference Server, `triton://host:8000/model`; or a checkpoint,
            `best.pt`, which runs in PyTorch; or an engine of `edgecv build`, `model.engine`, with
            its record `model.engine.json` beside it.
        device: `auto`, `cpu` or `cuda`; in OpenVINO also Intel's `gpu` and `npu`.
        threads: threads of the CPU, 0 for one per core.
        backend: `onnxruntime`, `onnxruntime-tensorrt`, `openvino`, `tensorrt` or `torch`, to insist
            on; `auto` for the fastest that can run the file here. With `tensorrt` an ONNX file runs
            on another backend until its engine is built.
        precision: of a checkpoint, of OpenVINO or of TensorRT's engines: `fp32`, `fp16`, `bf16`.
        hint: what to tune for where a backend can (OpenVINO, and onnxruntime on a CPU): `latency`,
            the time of one image, or `throughput`, images per second, such as for a video file.
        cache: folder that OpenVINO's compiled networks or TensorRT's engines are kept in.

    Raises:
        InputError: if the file or the device cannot be used; the message holds the remedy.
        ServerError: if a server does not answer.

    Example:
        >>> model = edgecv.load("model.onnx")
        >>> detections = model("street.jpg")

    """
    return Model(
        open_session(
            path,
            device,
            threads=threads,
            backend=backend,
            precision=precision,
            hint=hint,
            cache=cache,
        )
    )
