"""From a camera, a video or pictures to results: sources, the threaded pipeline, sinks.

`edgecv.stream("street.mp4", model)` is the public one-liner, and `edgecv.stream.sources` and its
neighbours are modules: the name is a package that can be called.
"""

import sys
from types import ModuleType
from typing import Any

from edgecv.stream.accounting import Counts, Drop, DropReason, SourceStatus
from edgecv.stream.crops import Cascade, OnCrops
from edgecv.stream.interest import RegionOfInterest
from edgecv.stream.ledger import Ledger
from edgecv.stream.models import Models
from edgecv.stream.notices import Notice, Notices
from edgecv.stream.opening import stream
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.policy import Policy
from edgecv.stream.sources import Frame, Source, open_source
from edgecv.stream.tiling import Tiled

__all__ = [
    "Cascade",
    "Counts",
    "Drop",
    "DropReason",
    "Frame",
    "Ledger",
    "Models",
    "Notice",
    "Notices",
    "OnCrops",
    "Policy",
    "RegionOfInterest",
    "Source",
    "SourceStatus",
    "StreamResult",
    "Tiled",
    "open_source",
    "stream",
]


class _CallablePackage(ModuleType):
    """This package, with a call that forwards to `stream`.

    Python looks `__call__` up on the type, so a function in the module would not do. Importing the
    package anywhere sets the attribute `edgecv.stream` to it: a function bound to that name would
    be overwritten by the first `import edgecv.stream.sources`, hence one object that is both.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # typed where it is defined
        return stream(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
