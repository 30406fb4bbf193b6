"""How many threads one operator may use."""

from edgecv.kernels import _native

_MAX_NUM_THREADS = 256  # kMaxNumThreads of kernels/common/parallel.h


def num_threads() -> int:
    """Return how many threads one operator may use, the calling thread included."""
    return _native.num_threads()


def set_num_threads(count: int) -> None:
    """Let each operator use `count` threads from the next call on.

    The threads are shared by all operators and all threads that call them; they start when an
    operator has enough work to share, and sleep in between. Results do not depend on their number.
    Initially it is the number of processors that this process may use, at most 4. With 1, each
    operator runs in the thread that calls it: the choice where several processes share a machine,
    such as the workers of a data loader.

    Args:
        count: in [1, 256], the calling thread included.

    Raises:
        ValueError: if `count` is out of this range.
        TypeError: if `count` is not a whole number.

    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(
            f"set_num_threads: `count` must be a whole number, got {type(count).__name__}."
        )
    if not 1 <= count <= _MAX_NUM_THREADS:
        raise ValueError(
            f"set_num_threads: `count` must be in [1, {_MAX_NUM_THREADS}], got {count}."
        )
    _native.set_num_threads(count)
