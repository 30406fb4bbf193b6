"""`edgecv train`: from a data set to `best.pt`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from edgecv.cli.app import app
from edgecv.cli.console import (
    Device,
    JsonPath,
    Quiet,
    console,
    parse_numbers,
    parse_size,
    print_problems,
    print_table,
    require_extra,
    write_json,
)
from edgecv.cli.training_bar import TrainingBar
from edgecv.errors import InputError
from edgecv.placement import Fit

if TYPE_CHECKING:
    from edgecv.train.trainer import TrainResult


@app.command()
def train(
    model: Annotated[str | None, typer.Argument(help="For example ssd_mobilenetv2.")] = None,
    *,
    backbone: Annotated[
        str | None, typer.Option(help="Such as resnet18 or timm:NAME; default: the model's own.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="bccd, voc:DIR, coco:DIR or yolo:DIR.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training split.")] = 50,
    size: Annotated[str, typer.Option(help="Input in pixels: 320, or HEIGHTxWIDTH.")] = "320",
    fit: Annotated[Fit, typer.Option(help="How images are fitted into it.")] = "letterbox",
    augment: Annotated[
        str, typer.Option(help="How images are varied: default, strong, none, or a TOML file.")
    ] = "default",
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 16,
    lr: Annotated[float, typer.Option(help="Peak learning rate of the heads.")] = 2e-3,
    backbone_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The backbone's rate as a fraction of it, 0 to freeze it. Default 0.3, or 1 "
            "without weights.",
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Backbone: imagenet (downloaded), none, or a file.")
    ] = "imagenet",
    mean: Annotated[
        str | None, typer.Option(help="Of pixels in 0..1, as the weights expect; one or three.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Of the forward pass; auto takes what the device is fast in."),
    ] = "auto",
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare batches.")] = 0,
    seed: Annotated[int, typer.Option(help="Repeats a run on a CPU exactly.")] = 0,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with a broken annotation.")
    ] = "error",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; default runs/NAME-N.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the run in this folder, with its settings.")
    ] = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Train a detector; CTRL-C saves, `--resume` continues exactly."""
    require_extra("train", "torch", "torchvision", "faster_coco_eval", "tensorboard")
    from edgecv.data.augment.files import read_recipe
    from edgecv.train import trainer  # torch takes seconds to import
    from edgecv.train.config import IMAGENET_MEAN, IMAGENET_STD, TrainConfig
    from edgecv.train.folder import next_run_folder

    screen = console(quiet=quiet)
    with TrainingBar(screen) as bar:
        if resume is not None:
            if model is not None or data is not None:
                raise InputError(
                    "`--resume` takes the model and data of the run it continues. Leave them out."
                )
            result = trainer.resume(resume, bar)
        else:
            if model is None or data is None:
                raise InputError(
                    "train needs a model and `--data`, such as "
                    "`edgecv train ssd_mobilenetv2 --data bccd`."
                )
            config = TrainConfig(
                model=model,
                data=data,
                backbone=backbone,
                epochs=epochs,
                size_hw=parse_size(size),
                fit=fit,
                augment=read_recipe(augment),
                batch_size=batch,
                learning_rate=lr,
                backbone_rate=_backbone_rate(backbone_rate, weights),
                weights=weights,
                mean=parse_numbers("--mean", mean) or IMAGENET_MEAN,
                std=parse_numbers("--std", std) or IMAGENET_STD,
                precision=precision,
                device=device,
                workers=workers,
                seed=seed,
                on_bad=on_bad,
            )
            folder = output or next_run_folder(model)
            result = trainer.train(config, folder, bar)
    _report(screen, result)
    write_json(
        json,
        {
            "folder": str(result.folder),
            "best_epoch": result.best_epoch,
            "was_interrupted": result.was_interrupted,
            "skipped": [str(problem) for problem in result.problems],
            "seconds": round(result.seconds, 1),
            "history": result.history,
        },
    )


def _backbone_rate(wanted: float | None, weights: str) -> float:
    """Return the rate for a backbone: what is pretrained moves less than what is random."""
    if wanted is not None:
        return wanted
    return 1.0 if weights == "none" else 0.3


def _report(screen: Console, result: "TrainResult") -> None:
    print_problems(screen, result.problems)
    if result.was_interrupted:
        screen.print(
            f"Interrupted and saved. Continue with `edgecv train --resume {result.folder}`."
        )
    if result.best_epoch == 0:
        return
    best = result.history[result.best_epoch - 1]
    rows = [(name, values["AP"], values["AP50"]) for name, values in best["per_class"].items()]
    rows.append(("all", best["AP"], best["AP50"]))
    title = f"Validation, best epoch {result.best_epoch} of {len(result.history)}"
    print_table(screen, title, ("class", "AP", "AP50"), rows)
    screen.print(f"{result.seconds / 60:.1f} minutes. Weights: {result.folder / 'best.pt'}")
    screen.print(result.report)
