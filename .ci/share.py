"""A pytest plugin: one of several shares of the tests, `pytest -p share --share 2/3`."""

import zlib

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--share`."""
    parser.addoption("--share", default="1/1", help="which of how many shares, such as 2/3")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of other shares; each test is always in the same one."""
    number, _, count = str(config.getoption("--share")).partition("/")
    if not (count.isdecimal() and number.isdecimal() and 1 <= int(number) <= int(count)):
        raise pytest.UsageError("`--share` must be such as 2/3")
    others = [
        item for item in items if zlib.crc32(item.nodeid.encode()) % int(count) != int(number) - 1
    ]
    config.hook.pytest_deselected(items=others)
    left_out = set(others)
    items[:] = [item for item in items if item not in left_out]
