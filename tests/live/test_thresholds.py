"""Thresholds that a page changes: at once, without losing a frame, and not from other sites."""

import json
from typing import Any

import pytest

from .visitor import Shown, ask, change


def test_a_threshold_acts_on_the_next_frame_and_no_frame_is_lost(show: Shown) -> None:
    with show() as stream:
        stream.give()
        status, body = change(stream, {"score": 0.7})
        assert status == 200
        assert json.loads(body)["score"] == {"value": 0.7, "fixed": ""}
        stream.give()
        assert change(stream, {"score": 0.5, "iou": 0.3})[0] == 200
        stream.give()
        assert [len(result.result) for result in stream.results] == [1, 0, 1]
        assert [result.frame.index for result in stream.results] == [0, 1, 2]
        controls = json.loads(ask(stream, "/status")[2])["controls"]
        assert {name: each["value"] for name, each in controls.items()} == {
            "score": 0.5,
            "iou": 0.3,
        }


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON object"),
        (b"[0.5]", "JSON object"),
        (b"{}", "JSON object"),
        (b'{"score": 1.5}', "in [0, 1], got 1.5"),
        (b'{"score": -0.1}', "in [0, 1]"),
        (b'{"score": NaN}', "in [0, 1]"),
        (b'{"score": true}', "in [0, 1]"),
        (b'{"score": "0.5"}', "in [0, 1]"),
        (b'{"max_detections": 3}', "no threshold 'max_detections'"),
        (b"[" * 4000, "JSON object"),
    ],
)
def test_a_threshold_that_is_none_is_refused(show: Shown, body: bytes, told: str) -> None:
    with show() as stream:
        status, answer = change(stream, body)
        assert status == 422
        assert told in answer.decode()
        assert stream.pipeline.settings.effective["score"] == 0.25


def test_a_threshold_inside_the_graph_is_told_to_be_fixed(show: Shown, finder: Any) -> None:
    with show(model=finder(has_fixed_score=True)) as stream:
        controls = json.loads(ask(stream, "/status")[2])["controls"]
        reason = "the score threshold is fixed inside this graph. Export it anew."
        assert controls["score"] == {"value": None, "fixed": reason}
        assert controls["iou"]["fixed"] == ""
        assert change(stream, {"score": 0.5}) == (422, f"{reason}\n".encode())
        assert change(stream, {"iou": 0.5})[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_other_sites_change_nothing(show: Shown, headers: dict[str, str], status: int) -> None:
    with show() as stream:
        assert change(stream, {"score": 0.9}, **headers)[0] == status
        assert stream.pipeline.settings.effective["score"] == (0.9 if status == 200 else 0.25)
