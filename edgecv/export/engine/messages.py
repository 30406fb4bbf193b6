"""Why TensorRT built nothing, in one line."""

from collections.abc import Sequence

_NO_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "std::bad_alloc")


def why_no_engine(errors: Sequence[str], workspace_mib: int) -> str:
    """Return why TensorRT built nothing, and what to do, in one line."""
    reason = errors[-1].rstrip(".") if errors else "it did not say why"
    text = " ".join(errors).lower()
    if any(sign in text for sign in _NO_MEMORY):
        asked = f"{workspace_mib} MiB" if workspace_mib else "all of the device"
        remedy = (
            f"A layer may use {asked}: lower `workspace_mib` in the recipe, and close what else "
            "uses the GPU."
        )
    elif "could not find any implementation" in text:
        remedy = (
            "No kernel fits that layer. Raise `workspace_mib` or `optimisation_level` in the "
            "recipe, or keep the layer in float32 when you export."
        )
    else:
        remedy = "`edgecv inspect` says what this version takes."
    return f"TensorRT built no engine: {reason}. {remedy}"
