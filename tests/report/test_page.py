"""The parts of a page that other pages share."""

import math

import pytest

from edgecv.report.page import figure, table


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (1.0, "1.000"), (None, "–"), (math.nan, "–")]
)
def test_a_figure_has_three_digits_or_is_a_dash(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_a_table_escapes_its_cells() -> None:
    html = table(("<a>", "b"), [("c & d", "1")])
    assert html == (
        "<table><thead><tr><th>&lt;a&gt;</th><th>b</th></tr></thead>"
        "<tbody><tr><td>c &amp; d</td><td>1</td></tr></tbody></table>"
    )
