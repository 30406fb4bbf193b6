"""What an augmentation recipe may say: the transforms with their parameters, each checked.

A recipe lists transforms in the order in which they run. Those that move pixels work on the frame
as it was decoded; then it is fitted into the network's input, alone or with others in a mosaic;
what changes the values of pixels runs last, on the input, where there are fewest of them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, get_args

from edgecv.errors import InputError

FRAME, COMPOSITION, INPUT = range(3)  # the stages, in the order in which they run
_STAGE_NAMES = ("moves pixels", "composes the input", "changes pixels of the input")


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left and right; keypoints called left_… and right_… change places.

    Args:
        probability: of a flip.

    """

    FORMAT: ClassVar[str] = "horizontal-flip"
    STAGE: ClassVar[int] = FRAME
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _check_probability(self)


@dataclass(frozen=True)
class VerticalFlip:
    """Mirror top and bottom; keypoints called left_… and right_… change places.

    Args:
        probability: of a flip.

    """

    FORMAT: ClassVar[str] = "vertical-flip"
    STAGE: ClassVar[int] = FRAME
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _check_probability(self)


@dataclass(frozen=True)
class ZoomOut:
    """Put the frame at a random place of a larger canvas (Liu et al. 2016, section 3.6).

    Args:
        max_side: largest side of the canvas as a multiple of the frame's, at least 1.
        probability: of a canvas at all.

    """

    FORMAT: ClassVar[str] = "zoom-out"
    STAGE: ClassVar[int] = FRAME
    max_side: float = 2.0
    probability: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a canvas smaller than the frame."""
        _check(self, "max_side", 1, 16)
        _check_probability(self)


@dataclass(frozen=True)
class IouCrop:
    """Cut a part that overlaps an object by a random IoU (Liu et al. 2016, section 2.2).

    One in seven frames stays whole. Objects whose centre the crop loses are dropped.

    Args:
        min_scale: least side of the crop as a fraction of the frame's.
        min_aspect: least width of the crop over its height, each as a fraction of the frame's;
            the greatest is its inverse.
        probability: of the attempt.

    """

    FORMAT: ClassVar[str] = "iou-crop"
    STAGE: ClassVar[int] = FRAME
    min_scale: float = 0.3
    min_aspect: float = 0.5
    probability: float = 1.0

    def __post_init__(self) -> None:
        """Refuse crops without extent."""
        _check(self, "min_scale", 0.05, 1)
        _check(self, "min_aspect", 0.1, 1)
        _check_probability(self)


@dataclass(frozen=True)
class ScaleJitter:
    """Enlarge the frame and cut, or shrink it into a canvas of its size (Ghiasi et al. 2021).

    Objects of which less than a quarter is left are dropped.

    Args:
        scale: least and greatest factor, drawn evenly on a logarithmic scale.
        probability: of another scale than 1.

    """

    FORMAT: ClassVar[str] = "scale-jitter"
    STAGE: ClassVar[int] = FRAME
    scale: tuple[float, float] = (0.6, 1.6)
    probability: float = 1.0

    def __post_init__(self) -> None:
        """Refuse factors that leave nothing to see."""
        _check_range(self, "scale", 0.1, 10)
        _check_probability(self)


@dataclass(frozen=True)
class ResizedCrop:
    """Cut a part of random area and aspect and stretch it to the input (Szegedy et al. 2015).

    Objects of which less than a quarter is left are dropped. Source: "Going Deeper with
    Convolutions", section 6.

    Args:
        area: least and greatest area of the part, as a fraction of the frame's.
        aspect: least width of the part over its height; the greatest is its inverse.
        probability: of the attempt.

    """

    FORMAT: ClassVar[str] = "resized-crop"
    STAGE: ClassVar[int] = FRAME
    area: tuple[float, float] = (0.35, 1.0)
    aspect: float = 0.75
    probability: float = 1.0

    def __post_init__(self) -> None:
        """Refuse parts without extent."""
        _check_range(self, "area", 0.01, 1)
        _check(self, "aspect", 0.1, 1)
        _check_probability(self)


@dataclass(frozen=True)
class Albumentations:
    """A pipeline of the library albumentations, if it is installed; boxes and masks follow.

    Args:
        file: where it came from: a YAML or JSON file of `albumentations.save`, or
            `module:attribute` or `file.py:attribute` naming an `albumentations.Compose`.
        definition: the pipeline itself as JSON, so that a run does not depend on the file. A
            recipe file leaves it out.

    """

    FORMAT: ClassVar[str] = "albumentations"
    STAGE: ClassVar[int] = FRAME
    file: str = ""
    definition: str = ""

    def __post_init__(self) -> None:
        """Refuse an entry without pipeline."""
        if not self.definition:
            raise InputError(
                "albumentations: `file` must name a pipeline, got none. Give a YAML or JSON file "
                "of `albumentations.save`, or `file.py:attribute`."
            )


@dataclass(frozen=True)
class Mosaic:
    """Fill the input with parts of four frames around a random point (Bochkovskiy et al. 2020).

    Each part keeps its frame's aspect ratio and covers its quarter whole. The transforms above
    this one are drawn anew for each frame. Objects of which less than a quarter is left are
    dropped.

    Args:
        scale: least and greatest scale of a part, where 1 shows it as large as the frame alone
            would be; a part is never so small that its quarter stays bare.
        centre: where the four meet, as fractions of the input's sides.
        probability: of a mosaic.

    """

    FORMAT: ClassVar[str] = "mosaic"
    STAGE: ClassVar[int] = COMPOSITION
    scale: tuple[float, float] = (0.5, 1.0)
    centre: tuple[float, float] = (0.3, 0.7)
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse parts without extent."""
        _check_range(self, "scale", 0.1, 10)
        _check_range(self, "centre", 0.1, 0.9)
        _check_probability(self)


@dataclass(frozen=True)
class Mixup:
    """Blend the image with another, and take the objects of both (Zhang et al. 2018 and 2019).

    The other goes through the transforms above this one, drawn anew.

    Args:
        alpha: of the symmetric beta distribution of the first image's share; the larger, the
            closer to one half.
        probability: of a blend.

    """

    FORMAT: ClassVar[str] = "mixup"
    STAGE: ClassVar[int] = INPUT
    alpha: float = 8.0
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a distribution that has no density."""
        _check(self, "alpha", 0.1, 1000)
        _check_probability(self)


@dataclass(frozen=True)
class Colour:
    """Change brightness, contrast, saturation and hue, each by chance.

    Args:
        brightness: least and greatest factor.
        contrast: likewise, around the mean grey.
        saturation: likewise.
        hue: least and greatest turn, as a fraction of the circle, within -0.5..0.5.
        shuffle_channels: also put red, green and blue into a random order, by chance.
        probability: of each change by itself.

    """

    FORMAT: ClassVar[str] = "colour"
    STAGE: ClassVar[int] = INPUT
    brightness: tuple[float, float] = (0.7, 1.3)
    contrast: tuple[float, float] = (0.7, 1.3)
    saturation: tuple[float, float] = (0.7, 1.3)
    hue: tuple[float, float] = (-0.03, 0.03)
    shuffle_channels: bool = False
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse factors below 0 and more than half a turn."""
        for key in ("brightness", "contrast", "saturation"):
            _check_range(self, key, 0, 10)
        _check_range(self, "hue", -0.5, 0.5)
        _check_probability(self)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur as a lens out of focus does, roughly.

    Args:
        sigma: least and greatest standard deviation in pixels of the input.
        probability: of a blur.

    """

    FORMAT: ClassVar[str] = "gaussian-blur"
    STAGE: ClassVar[int] = INPUT
    sigma: tuple[float, float] = (0.4, 1.6)
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a blur without width and one wider than any lens makes."""
        _check_range(self, "sigma", 0.1, 10)
        _check_probability(self)


@dataclass(frozen=True)
class MotionBlur:
    """Smear along a line in a random direction, as a camera or an object that moves.

    Args:
        length: least and greatest length of the line in pixels of the input.
        probability: of a smear.

    """

    FORMAT: ClassVar[str] = "motion-blur"
    STAGE: ClassVar[int] = INPUT
    length: tuple[float, float] = (3.0, 9.0)
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a line without length and one that smears everything."""
        _check_range(self, "length", 1, 63)
        _check_probability(self)


@dataclass(frozen=True)
class CameraNoise:
    """Add the noise of a sensor: its variance is `shot` times the value plus `read` squared.

    Source: Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image
    raw-data", 2008, equation 5, applied to the picture instead of raw values.

    Args:
        shot: least and greatest variance that light itself has at full white, where white is 1.
        read: least and greatest standard deviation of the electronics.
        probability: of noise.

    """

    FORMAT: ClassVar[str] = "camera-noise"
    STAGE: ClassVar[int] = INPUT
    shot: tuple[float, float] = (0.0, 0.004)
    read: tuple[float, float] = (0.0, 0.02)
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse noise that buries the picture."""
        _check_range(self, "shot", 0, 1)
        _check_range(self, "read", 0, 1)
        _check_probability(self)


@dataclass(frozen=True)
class Jpeg:
    """Compress as JPEG and back, for its artefacts.

    Args:
        quality: least and greatest quality, 1..100.
        probability: of a compression.

    """

    FORMAT: ClassVar[str] = "jpeg"
    STAGE: ClassVar[int] = INPUT
    quality: tuple[int, int] = (35, 90)
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse qualities that JPEG does not have."""
        _check_range(self, "quality", 1, 100)
        _check_probability(self)


Transform: TypeAlias = (
    HorizontalFlip
    | VerticalFlip
    | ZoomOut
    | IouCrop
    | ScaleJitter
    | ResizedCrop
    | Albumentations
    | Mosaic
    | Mixup
    | Colour
    | GaussianBlur
    | MotionBlur
    | CameraNoise
    | Jpeg
)

TRANSFORMS: dict[str, type[Transform]] = {kind.FORMAT: kind for kind in get_args(Transform)}


@dataclass(frozen=True)
class Recipe:
    """How training images are varied.

    Args:
        name: of a recipe that edgecv ships, or of the file; for people.
        transforms: in the order in which they run.
        mixing_until: the fraction of a run's epochs after which mosaic and mixup stay away, so
            that training ends on images as the deployed model meets them.

    Raises:
        InputError: if a value is out of range, or the order is impossible.

    """

    name: str
    transforms: tuple[Transform, ...] = ()
    mixing_until: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an order in which the stages cannot run, and a second mosaic."""
        if not 0 <= self.mixing_until <= 1:
            raise InputError(
                f"recipe: `mixing_until` must be in 0..1, got {self.mixing_until:g}. It is a "
                "fraction of the run's epochs."
            )
        for above, below in zip(self.transforms, self.transforms[1:], strict=False):
            if above.STAGE > below.STAGE:
                raise InputError(
                    f"recipe: `{below.FORMAT}`, which {_STAGE_NAMES[below.STAGE]}, must stand "
                    f"above `{above.FORMAT}`, which {_STAGE_NAMES[above.STAGE]}, got it below. "
                    "Move it up."
                )
        if sum(isinstance(transform, Mosaic) for transform in self.transforms) > 1:
            raise InputError("recipe: `mosaic` must stand there once at most, got it again.")


class _Transform(Protocol):
    FORMAT: ClassVar[str]


def _check(transform: _Transform, key: str, least: float, greatest: float) -> None:
    value: Any = getattr(transform, key)
    if not least <= value <= greatest:  # so that NaN is refused too
        raise InputError(
            f"{transform.FORMAT}: `{key}` must be in {least:g}..{greatest:g}, got {value:g}."
        )


def _check_probability(transform: _Transform) -> None:
    _check(transform, "probability", 0, 1)


def _check_range(transform: _Transform, key: str, least: float, greatest: float) -> None:
    low, high = getattr(transform, key)
    if not least <= low <= high <= greatest:
        raise InputError(
            f"{transform.FORMAT}: `{key}` must be two numbers in {least:g}..{greatest:g}, the "
            f"smaller first, got {low:g} and {high:g}."
        )
