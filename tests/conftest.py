"""What several folders of tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets: $EDGECV_DATA, else `shared/data` beside the checkout."""
    named = os.environ.get("EDGECV_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(named).expanduser() if named else beside
    if not root.is_dir():
        pytest.skip("needs the real data sets: set EDGECV_DATA")
    return root
