"""Class names from the command line: a well-known list, a file, or the names themselves."""

from pathlib import Path

from edgecv.errors import InputError

COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, "
    "bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, "
    "sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, "
    "bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, "
    "carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, "
    "tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, "
    "refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
)
VOC = (
    "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, "
    "motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
)

# By COCO's category ids, which run to 90 and skip ten: torchvision's detectors, DETR, RF-DETR.
_UNUSED_IN_COCO = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def _with_unused(names: str) -> str:
    """Return COCO's names by category id, the background first, the ids without a class named."""
    left = iter(names.split(","))
    ids = (f"unused {k}" if k in _UNUSED_IN_COCO else next(left) for k in range(1, 91))
    return ",".join(["background", *ids])


_KNOWN = {"coco": COCO, "coco91": _with_unused(COCO), "voc": VOC}


def parse_classes(text: str) -> tuple[str, ...]:
    """Return the class names that `text` stands for, in the order of their ids.

    Args:
        text: `coco`, `coco91` (by COCO's category ids, the background first) or `voc`, a text file
            with a name a line, or names with commas between them.

    Raises:
        InputError: if there is no name, a name is empty, or one comes twice.

    """
    path = Path(text)
    if text in _KNOWN:
        lines = _KNOWN[text].split(",")
    elif path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    elif path.suffix == ".txt":
        raise InputError(f"`--classes`: there is no file `{text}`. Check the path.")
    else:
        lines = text.split(",")
    names = tuple(line.strip() for line in lines)
    if not names or not all(names):
        raise InputError(
            f"`--classes` must be `coco`, `coco91`, `voc`, a file with a name a line, or names "
            f"with commas, got {text!r}."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"`--classes` must hold each name once, got {', '.join(twice)} again.")
    return names
