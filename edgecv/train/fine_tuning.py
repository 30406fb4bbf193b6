"""The settings that a fine-tuning with fake quantisation starts from: those of its checkpoint."""

from pathlib import Path
from typing import Any

from edgecv.train.checkpoint import read_checkpoint
from edgecv.train.config import refuse_untrained

EPOCHS = 10
RATE_FACTOR = 0.1  # on the peak rate of the training: weights move by fractions of an 8-bit step


def fine_tuning_settings(weights: str | None) -> dict[str, Any]:
    """Return the settings a checkpoint was trained with, but for a short run at a low rate.

    Args:
        weights: the checkpoint.

    Raises:
        InputError: if it is no checkpoint of edgecv.

    """
    refuse_untrained(weights)
    path = Path(str(weights))
    trained: dict[str, Any] = read_checkpoint(path)["config"]
    return {
        **trained,
        "weights": str(path),
        "epochs": EPOCHS,
        "learning_rate": RATE_FACTOR * trained["learning_rate"],
        "unfreeze": [],
        "precision": "auto",
        "compile": False,
        "device": "auto",
        "patience": None,
        "time_budget_s": None,
    }
