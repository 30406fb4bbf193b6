"""`edgecv adopt`: a third-party ONNX file gains a description."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgecv.cli.app import app
from edgecv.cli.console import Quiet, console, parse_numbers, parse_size, require_extra
from edgecv.placement import Fit


@app.command()
def adopt(
    model: Annotated[Path, typer.Argument(help="The ONNX file as its project exports it.")],
    *,
    format: Annotated[  # noqa: A002  # the option's name
        Literal["yolox", "yolo", "nanodet", "ssd", "logits", "probabilities"],
        typer.Option(help="What its outputs mean; the last two are a classifier's."),
    ],
    classes: Annotated[
        str, typer.Option(help="coco, voc, a file with a name a line, or names with commas.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
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
    quiet: Quiet = False,
) -> None:
    """Give a third-party ONNX file a description; what you leave out follows its format's habit."""
    require_extra("export", "onnx")
    from edgecv.classes import parse_classes
    from edgecv.export.adopt import Preprocessing  # onnx takes a while to import
    from edgecv.export.adopt import adopt as adopt_file

    spec = adopt_file(
        model,
        output,
        format,
        parse_classes(classes),
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
    wanted = spec.input
    console(quiet=quiet).print(
        f"Wrote {output}: {format}, {len(spec.classes)} classes, input `{wanted.name}` "
        f"{wanted.size_hw[0]}x{wanted.size_hw[1]} {wanted.colour}, fit {wanted.fit}, pad "
        f"{wanted.pad}, (pixel * {wanted.scale:.6g} - {list(wanted.mean)}) / {list(wanted.std)}."
    )
