"""`edgecv train`: from a data set to `best.pt`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from edgecv.cli.app import app
from edgecv.cli.console import (
    JsonPath,
    Quiet,
    console,
    parse_duration,
    parse_numbers,
    parse_pairs,
    parse_size,
    parse_whole_numbers,
    print_problems,
    print_table,
    require_extra,
    write_json,
)
from edgecv.cli.training_bar import TrainingBar
from edgecv.errors import InputError
from edgecv.placement import Fit
from edgecv.train.config import TrainConfig

if TYPE_CHECKING:
    from edgecv.train.observer import TrainResult


def _option(*names: str, help: str, default: object = None, **more: Any) -> Any:  # noqa: A002, ANN401  # typer's
    """Return an option whose default is that of a recipe or of `TrainConfig`, shown in the help."""
    if default is not None:  # typer puts a default that is not the parameter's in parentheses
        help = f"{help} [dim]\\[default: {default}][/dim]"  # noqa: A001
    return typer.Option(*names, help=help, show_default=False, **more)


@app.command()
def train(
    model: Annotated[
        str | None, typer.Argument(help="For example ssd_mobilenetv2, resnet18 or timm:NAME.")
    ] = None,
    *,
    recipe: Annotated[
        str | None,
        typer.Option(help="Settings from a TOML file or a shipped recipe; options change them."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Such as resnet18 or timm:NAME; default: the model's own.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the model, NAME=VALUE, such as anchors=all-pairs; repeat."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="bccd, voc:DIR, coco:DIR or yolo:DIR; classifiers: folder:DIR."),
    ] = None,
    proposals: Annotated[
        Path | None,
        typer.Option(
            help="Regions for fast_rcnn and rcnn: a file of `edgecv data propose`, of all images."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        _option(min=1, help="Passes over the training split.", default=TrainConfig.epochs),
    ] = None,
    size: Annotated[
        str | None,
        _option(help="Input in pixels: 320, or HEIGHTxWIDTH.", default="320, for classifiers 224"),
    ] = None,
    fit: Annotated[
        Fit | None, _option(help="How images are fitted into it.", default=TrainConfig.fit)
    ] = None,
    augment: Annotated[
        str | None,
        _option(
            help="How images are varied: default, strong, none, or a TOML file.", default="default"
        ),
    ] = None,
    batch: Annotated[
        int | None,
        _option(min=1, help="Images a step, over all GPUs.", default=TrainConfig.batch_size),
    ] = None,
    accumulate: Annotated[
        int | None,
        _option(
            min=1,
            help="Take the batch in so many parts, to save memory.",
            default=TrainConfig.accumulate,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        _option(help="Peak learning rate of the heads.", default=TrainConfig.learning_rate),
    ] = None,
    backbone_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The backbone's rate as a fraction of it, 0 to freeze it. Default 0.3, or 1 "
            "without weights.",
        ),
    ] = None,
    unfreeze: Annotated[
        str | None,
        typer.Option(
            help="Epochs that the backbone is frozen: 5, or 5,10,15 to free its deepest stage "
            "after 5, the next after 10, the rest after 15."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        _option(
            help="imagenet (downloaded), none, a file with the backbone's, or a best.pt of the "
            "same model for other classes.",
            default=TrainConfig.weights,
        ),
    ] = None,
    fake_quantise: Annotated[
        Literal["int8-cpu", "int8-tensorrt"] | None,
        typer.Option(
            help="Fine-tune the best.pt in --weights for an export in this precision; what is not "
            "named is as it was trained, but 10 epochs at a tenth of the rate."
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Of pixels in 0..1, as the weights expect; one or three.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"] | None,
        _option(
            help="Of the forward pass; auto takes what the device is fast in.",
            default=TrainConfig.precision,
        ),
    ] = None,
    compile: Annotated[  # noqa: A002  # the option's name
        bool | None, typer.Option("--compile/--no-compile", help="Compile the network first.")
    ] = None,
    sync_norms: Annotated[
        bool | None,
        typer.Option(
            "--sync-norms/--no-sync-norms", help="Batch norms see the batch of all GPUs together."
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        _option(help="Where it runs; auto takes a GPU if usable.", default=TrainConfig.device),
    ] = None,
    workers: Annotated[
        int | None,
        _option(min=0, help="Processes that prepare batches.", default=TrainConfig.workers),
    ] = None,
    seed: Annotated[
        int | None, _option(help="Repeats a run on a CPU exactly.", default=TrainConfig.seed)
    ] = None,
    on_bad: Annotated[
        Literal["error", "skip"] | None,
        _option(help="What to do with a broken annotation.", default=TrainConfig.on_bad),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many epochs without better AP or top-1."),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(help="Such as 45m or 1h30m: plan epochs and learning rate to fit it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; default runs/NAME-N.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the run in this folder, with its settings.")
    ] = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Train a detector or a classifier; CTRL-C saves, `--resume` continues exactly.

    On several GPUs: `torchrun --nproc-per-node 2 -m edgecv train ...`.
    """
    require_extra("train", "torch", "torchvision", "faster_coco_eval", "tensorboard")
    from edgecv.train import trainer  # torch takes seconds to import
    from edgecv.train.distributed import is_first_process
    from edgecv.train.folder import next_run_folder
    from edgecv.train.recipe import configure, read_recipe

    named = {
        "model": model,
        "backbone": backbone,
        "options": parse_pairs("--option", option),
        "data": data,
        "proposals": None if proposals is None else str(proposals),
        "epochs": epochs,
        "size_hw": None if size is None else parse_size(size),
        "fit": fit,
        "augment": augment,
        "batch_size": batch,
        "accumulate": accumulate,
        "learning_rate": lr,
        "backbone_rate": backbone_rate,
        "unfreeze": parse_whole_numbers("--unfreeze", unfreeze),
        "weights": weights,
        "fake_quantise": fake_quantise,
        "mean": parse_numbers("--mean", mean),
        "std": parse_numbers("--std", std),
        "precision": precision,
        "compile": compile,
        "sync_norms": sync_norms,
        "device": device,
        "workers": workers,
        "seed": seed,
        "on_bad": on_bad,
        "patience": patience,
        "time_budget_s": parse_duration("--time-budget", time_budget),
    }
    changes = {name: value for name, value in named.items() if value is not None}
    # Of the processes that torchrun starts, one speaks.
    screen = console(quiet=quiet or not is_first_process())
    with TrainingBar(screen) as bar:
        if resume is not None:
            if changes or recipe is not None:
                given = ", ".join([*changes, *(["recipe"] if recipe is not None else [])])
                raise InputError(
                    "`--resume` takes model, data and settings of the run it continues. "
                    f"Leave out: {given}."
                )
            result = trainer.resume(resume, bar)
        else:
            config = configure({} if recipe is None else read_recipe(recipe), changes)
            if config.fake_quantise is not None:
                require_extra("qat", "torchao")
            folder = output or next_run_folder(config.model)
            result = trainer.train(config, folder, bar)
    if not is_first_process():
        return
    _report(screen, result)
    write_json(
        json,
        {
            "folder": str(result.folder),
            "best_epoch": result.best_epoch,
            "was_interrupted": result.was_interrupted,
            "ending": result.ending,
            "skipped": [str(problem) for problem in result.problems],
            "seconds": round(result.seconds, 1),
            "history": result.history,
        },
    )


def _report(screen: Console, result: "TrainResult") -> None:
    print_problems(screen, result.problems)
    if result.was_interrupted:
        screen.print(
            f"Interrupted and saved. Continue with `edgecv train --resume {result.folder}`."
        )
    if result.ending:
        screen.print(f"Over: {result.ending}.")
    if result.best_epoch == 0:
        return
    best = result.history[result.best_epoch - 1]
    figures = result.figures
    every = {**best["per_class"], "all": best}
    rows = [(name, *(values[figure] for figure in figures)) for name, values in every.items()]
    title = f"Validation, best epoch {result.best_epoch} of {len(result.history)}"
    print_table(screen, title, ("class", *(name.replace("_", " ") for name in figures)), rows)
    screen.print(f"{result.seconds / 60:.1f} minutes. Weights: {result.folder / 'best.pt'}")
    screen.print(result.report)
