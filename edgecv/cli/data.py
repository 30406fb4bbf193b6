"""`edgecv data`: looking at data sets, taking a few images of one, proposing regions in them."""

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from edgecv.cli.app import app
from edgecv.cli.console import (
    JsonPath,
    Quiet,
    console,
    parse_size,
    print_problems,
    print_table,
    require_extra,
    write_json,
)
from edgecv.errors import DatasetError, InputError
from edgecv.files import replacing
from edgecv.placement import Fit
from edgecv.proposals import write_proposals
from edgecv.spec import ProposalMethod

_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}

data_app = typer.Typer(
    help="Look at data sets, take a few images of one, propose regions in them.",
    no_args_is_help=True,
)
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
    from edgecv.data import ClassificationDataset, SegmentationDataset, open_any
    from edgecv.data.augment.files import read_recipe
    from edgecv.data.preview import preview_sheet  # torch takes seconds to import
    from edgecv.spec import InputSpec
    from edgecv.train.config import IMAGENET_MEAN, IMAGENET_STD

    screen = console(quiet=quiet)
    dataset = open_any(data, split, on_bad=on_bad)
    if isinstance(dataset, SegmentationDataset):
        raise InputError(
            f"`data preview` draws objects and images by class, got label images: `{data}`. "
            "`edgecv eval --report DIR` shows label images beside what a model finds."
        )
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


@data_app.command()
def propose(
    data: Annotated[str, typer.Argument(help="bccd, voc:DIR, coco:DIR or yolo:DIR.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file: .npz or .json.")],
    method: Annotated[
        ProposalMethod,
        typer.Option(help="Selective search needs OpenCV's contributed modules; windows nothing."),
    ] = "selective-search",
    most: Annotated[int, typer.Option("--max", min=1, help="Regions an image, the best.")] = 300,
    split: Annotated[
        list[str] | None, typer.Option(help="Default: train, val and, where there is one, test.")
    ] = None,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with a broken annotation.")
    ] = "error",
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Propose regions for `fast_rcnn` and `rcnn`, and say how many objects they cover."""
    from edgecv.data import open_dataset
    from edgecv.data.proposing import propose_regions

    screen = console(quiet=quiet)
    if output.suffix.lower() not in {".npz", ".json"}:
        raise InputError(f"`--output` must end in .npz or .json, got `{output}`.")
    datasets = [open_dataset(data, name, on_bad=on_bad) for name in split or ("train", "val")]
    if split is None:
        with contextlib.suppress(DatasetError):  # many have no test split
            datasets.append(open_dataset(data, "test", on_bad=on_bad))
    total = sum(len(dataset.samples) for dataset in datasets)
    with Progress(console=screen, transient=True) as bar:
        task = bar.add_task("images", total=total)
        found = propose_regions(datasets, method, count=most, on_image=lambda: bar.advance(task))
    write_proposals(output, found.proposals)
    rows = [(entry.split, entry.num_images, *entry.to_row()) for entry in found.recalls]
    header = ("split", "images", "regions an image", "recall at IoU 0.5", "at 0.7")
    print_table(screen, f"{method} in {datasets[0].name}", header, rows)
    for dataset in datasets:
        print_problems(screen, dataset.problems)
    screen.print(f"Wrote {output}. Train with `--proposals {output}`.")
    recalls = {entry.split: entry.to_plain() for entry in found.recalls}
    write_json(json, {"proposals": str(output), "method": method, "splits": recalls})
