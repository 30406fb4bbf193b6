"""Class names from the command line."""

import json
from pathlib import Path

import pytest

from edgecv.classes import parse_classes
from edgecv.errors import InputError


def test_coco_is_the_annotation_file_in_category_order(shared_data: Path) -> None:
    text = (shared_data / "coco" / "instances_val2017.json").read_text()
    categories = sorted(json.loads(text)["categories"], key=lambda category: category["id"])
    assert parse_classes("coco") == tuple(category["name"] for category in categories)


def test_coco91_is_numbered_by_category(shared_data: Path) -> None:
    text = (shared_data / "coco" / "instances_val2017.json").read_text()
    by_id = {category["id"]: category["name"] for category in json.loads(text)["categories"]}
    names = parse_classes("coco91")
    assert len(names) == 91
    assert names[0] == "background"
    assert {k: name for k, name in enumerate(names) if k and "unused" not in name} == by_id


def test_voc_has_twenty_names_in_alphabetical_order() -> None:
    names = parse_classes("voc")
    assert len(names) == 20
    assert list(names) == sorted(names)


def test_names_with_commas() -> None:
    assert parse_classes("cat, hot dog ,Zaubernuß") == ("cat", "hot dog", "Zaubernuß")


def test_a_single_name() -> None:
    assert parse_classes("cell") == ("cell",)


@pytest.mark.parametrize(
    "content", ["cat\nhot dog\n", "cat\r\n\r\n  hot dog", "\ncat \nhot dog\n\n"]
)
def test_a_file_with_a_name_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "names"
    path.write_bytes(content.encode())
    assert parse_classes(str(path)) == ("cat", "hot dog")


def test_a_comma_in_a_file_belongs_to_the_name(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("car, parked\ncat\n")
    assert parse_classes(str(path)) == ("car, parked", "cat")


def test_a_missing_file_is_not_taken_for_a_name(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(InputError, match=f"there is no file `{path}`"):
        parse_classes(str(path))


@pytest.mark.parametrize("text", ["", " ", ",", "cat,,dog", "cat,dog,"])
def test_refuses_an_empty_name(text: str) -> None:
    with pytest.raises(
        InputError, match=r"must be `coco`, `coco91`, `voc`, a file .*, or names with commas"
    ):
        parse_classes(text)


def test_refuses_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n \n")
    with pytest.raises(InputError, match="must be `coco`"):
        parse_classes(str(path))


def test_refuses_a_name_twice() -> None:
    with pytest.raises(InputError, match="each name once, got cat, dog again"):
        parse_classes("dog,cat,bird,dog, cat")
