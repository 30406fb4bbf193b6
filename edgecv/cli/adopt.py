"""`edgecv adopt`: a third-party ONNX file gains a description."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from edgecv.cli.app import app
from edgecv.cli.console import Quiet, console, parse_numbers, parse_size, require_extra
from edgecv.errors import InputError
from edgecv.placement import Fit


@app.command()
def adopt(
    model: Annotated[Path, typer.Argument(help="The ONNX file as its project exports it.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    format: Annotated[  # noqa: A002  # the option's name
        Literal[
            "auto",
            "yolo",
            "yolov5",
            "yolov10",
            "yolox",
            "nanodet",
            "ssd",
            "detr",
            "torchvision",
            "efficientnms",
            "logits",
            "probabilities",
            "class-map",
        ],
        typer.Option(
            help="What its outputs mean; auto goes by their shapes and values and says why. yolo "
            "is v8, v9, v11; yolov5 also v3, v6, v7; yolov10 any rows x1, y1, x2, y2, score, class."
        ),
    ] = "auto",
    classes: Annotated[
        str | None,
        typer.Option(
            help="coco, coco91 (numbered by category), voc, a file with a name a line, or names "
            "with commas; may be left out where the file's metadata names them."
        ),
    ] = None,
    input_colour: Annotated[
        Literal["rgb", "bgr"] | None, typer.Option(help="Order of the input's channels.")
    ] = None,
    fit: Annotated[Fit | None, typer.Option(help="How frames are fitted.")] = None,
    pad: Annotated[
        int | None, typer.Option(min=0, max=255, help="Pixel value of the bars.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Factor on the pixel value.")] = None,
    mean: Annotated[
        str | None, typer.Option(help="Subtracted after the scale; one number or three.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Divided by at the end; likewise.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Where the graph leaves it open: 416, or HEIGHTxWIDTH.")
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option(help="For ssd: a JSON file with the anchor layers.")
    ] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            help="An image to try the model on, as described and with other colours, values and "
            "fits, side by side in one picture; may be repeated, to be surer."
        ),
    ] = None,
    check_output: Annotated[
        Path | None, typer.Option(help="That picture; by default beside the output.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Give a third-party ONNX file a description; what you leave out follows its format's habit."""
    require_extra("export", "onnx", "onnx_ir")
    from edgecv.classes import parse_classes
    from edgecv.export.adoption.adopt import adopt as adopt_file  # onnx takes a while to import
    from edgecv.export.adoption.conventions import Preprocessing

    picture = _check_picture(check, check_output, output)
    adoption = adopt_file(
        model,
        output,
        format,
        None if classes is None else parse_classes(classes),
        preprocessing=Preprocessing(
            colour=input_colour,
            fit=fit,
            pad=pad,
            scale=scale,
            mean=parse_numbers("--mean", mean),
            std=parse_numbers("--std", std),
            size_hw=None if size is None else parse_size(size),
        ),
        anchors=anchors,
    )
    screen = console(quiet=quiet)
    screen.print(f"Read as {adoption.reasons}.", markup=False)
    for note in adoption.notes:
        screen.print(f"  {note}", style="dim", markup=False)
    wanted = adoption.spec.input
    screen.print(
        f"Wrote {output}: {adoption.format}, {len(adoption.spec.classes)} classes, input "
        f"`{wanted.name}` {wanted.size_hw[0]}x{wanted.size_hw[1]} {wanted.colour}, fit "
        f"{wanted.fit}, pad {wanted.pad}, (pixel * {wanted.scale:.6g} - {list(wanted.mean)}) / "
        f"{list(wanted.std)}.",
        markup=False,
    )
    if check and picture is not None:
        _check(output, check, picture, screen)


def _check_picture(images: list[Path] | None, picture: Path | None, output: Path) -> Path | None:
    """Return where the picture of the check goes; refuse it before any work is done."""
    from edgecv.export.adoption.adoption_check import check_picture_path
    from edgecv.images import read_image

    if not images:
        if picture is not None:
            raise InputError("`--check-output` needs an image to check: `--check IMAGE`.")
        return None
    picture = picture or output.with_name(f"{output.stem}-check.jpg")
    check_picture_path(picture)
    for image in images:
        if picture.resolve() == image.resolve():
            raise InputError(f"`--check-output` must be another file than `{image}`. Change it.")
        read_image(image)
    return picture


def _check(output: Path, images: list[Path], picture: Path, screen: Console) -> None:
    """Try the adopted model on images, write the picture, and say which input looks best."""
    from edgecv.export.adoption.adoption_check import (
        best_of,
        is_clear,
        options_of,
        try_inputs,
        write_check,
    )
    from edgecv.runtime.model import load

    with (
        load(output) as model,
        Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar,
    ):
        task = bar.add_task("Trying other inputs", total=None)
        trials = try_inputs(
            model, images, lambda done, count: bar.update(task, completed=done, total=count)
        )
        classes = model.spec.classes
    write_check(trials, images, picture, classes)
    described, best = trials[0], best_of(trials)
    number = "1 image" if len(images) == 1 else f"{len(images)} images, their mean"
    screen.print(
        f"Check on {number}: the scores add up to {described.confidence:.2f} as described "
        f"({described.result.headline(classes)}), see {picture}.",
        markup=False,
    )
    changes = " + ".join(best.changed)
    if is_clear(best, described, len(images)):
        screen.print(
            f"{changes} looks better: {best.confidence:.2f} ({best.result.headline(classes)}). "
            f"To choose it, adopt again with `{options_of(best.input)}`.",
            style="yellow",
            markup=False,
        )
    elif best.confidence == 0:
        screen.print("Nothing is found under any input. Try images that show its classes.")
    elif best is described:
        screen.print(f"None of {len(trials) - 1} other inputs gives more.")
    else:
        screen.print(
            f"{changes} gives {best.confidence:.2f}, which may be chance. "
            "To be surer, give more images: `--check A --check B`.",
            markup=False,
        )
