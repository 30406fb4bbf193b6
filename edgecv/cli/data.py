"""`edgecv data`: looking at data sets, and taking a few images of one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgecv.cli.app import app
from edgecv.cli.console import Quiet, console, parse_size, print_problems, require_extra
from edgecv.errors import InputError
from edgecv.files import replacing
from edgecv.placement import Fit

_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}

data_app = typer.Typer(help="Look at data sets, take a few images of one.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command()
def preview(
    *,
    data: Annotated[
        str, typer.Option(help="bccd, voc:DIR, coco:DIR, yolo:DIR; by class: folder:DIR.")
    ],
    augment: Annotated[
        str | None,
        typer.Option(
            help="How images are varied: default, classify, strong, none, or a TOML file.",
            show_default="default, by class classify",
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="Input in pixels: 320, or HEIGHTxWIDTH.")] = "320",
    fit: Annotated[Fit, typer.Option(help="How images are fitted into it.")] = "letterbox",
    count: Annotated[int, typer.Option(min=1, max=400, help="Samples on the sheet.")] = 16,
    split: Annotated[str, typer.Option(help="Which part of the data set.")] = "train",
    seed: Annotated[int, typer.Option(help="Repeats a sheet exactly.")] = 0,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with a broken annotation.")
    ] = "error",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The picture: .png, .jpg or .webp.")
    ] = Path("sheet.png"),
    quiet: Quiet = False,
) -> None:
    """Draw samples as the network will see them, with boxes, masks, keypoints and names."""
    require_extra("train", "torch", "torchvision", "faster_coco_eval")
    if output.suffix.lower() not in _PICTURES:
        raise InputError(f"`--output` must end in {', '.join(sorted(_PICTURES))}, got `{output}`.")
    size_hw = parse_size(size)
    from edgecv.data import ClassificationDataset, open_any
    from edgecv.data.augment.files import read_recipe
    from edgecv.data.preview import preview_sheet  # torch takes seconds to import
    from edgecv.spec import InputSpec
    from edgecv.train.config import IMAGENET_MEAN, IMAGENET_STD

    screen = console(quiet=quiet)
    dataset = open_any(data, split, on_bad=on_bad)
    is_labelled = isinstance(dataset, ClassificationDataset)
    recipe = read_recipe(augment or ("classify" if is_labelled else "default"))
    wanted = InputSpec("images", size_hw, mean=IMAGENET_MEAN, std=IMAGENET_STD, fit=fit)
    sheet = preview_sheet(dataset, wanted, recipe, count=count, seed=seed)
    with replacing(output) as partial:
        sheet.save(partial)
    print_problems(screen, dataset.problems)
    screen.print(f"{count} samples of {dataset.name} {dataset.split}: {output}")


@data_app.command()
def subset(
    *,
    data: Annotated[str, typer.Option(help="bccd, voc:DIR, coco:DIR or yolo:DIR.")],
    count: Annotated[int, typer.Option(min=1, help="Images.")] = 16,
    split: Annotated[str, typer.Option(help="Which part of the data set.")] = "train",
    drop_unused: Annotated[
        bool, typer.Option("--drop-unused", help="Leave out classes that none of the images shows.")
    ] = False,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with a broken annotation.")
    ] = "error",
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    quiet: Quiet = False,
) -> None:
    """Copy the first images with objects, to be learnt by heart: train and val are the same.

    A model that cannot find what it was trained on has a fault in its data or its settings.
    """
    from edgecv.data import open_dataset  # keeps `edgecv --help` quick
    from edgecv.data.subset import write_subset

    screen = console(quiet=quiet)
    dataset = open_dataset(data, split, on_bad=on_bad)
    written = write_subset(dataset, output, count=count, drop_unused=drop_unused)
    print_problems(screen, dataset.problems)
    objects = sum(len(sample.class_ids) for sample in written.samples)
    screen.print(
        f"{count} images, {objects} objects, {len(written.classes)} classes: `--data coco:{output}`"
    )
