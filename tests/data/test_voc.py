"""The VOC reader: the layout, the class order, and every fault with its file and line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data.voc import is_voc_folder, read_voc
from edgecv.errors import DatasetError

SIZE_WH = (40, 30)


def xml_object(name: str, box_xyxy: tuple[object, ...], *, difficult: int = 0) -> str:
    """Five lines: the name on the second, the whole box on the fourth."""
    xmin, ymin, xmax, ymax = box_xyxy
    return (
        f"<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n"
        f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>\n</object>\n"
    )


def annotation(*objects: str, size_wh: tuple[int, int] = SIZE_WH) -> str:
    """The size stands on line 2, the first object on lines 3 to 7, its box on line 6."""
    width, height = size_wh
    size = f"<size><width>{width}</width><height>{height}</height></size>\n"
    return f"<annotation>\n{size}{''.join(objects)}</annotation>\n"


def write_voc(folder: Path, annotations: dict[str, str], **splits: list[str]) -> Path:
    """A data set whose split `test` has every image, unless `splits` says otherwise."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for stem, text in annotations.items():
        (folder / "Annotations" / f"{stem}.xml").write_text(text)
        Image.new("RGB", SIZE_WH).save(folder / "JPEGImages" / f"{stem}.jpg")
    for split, stems in (splits or {"test": list(annotations)}).items():
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        path.write_text("".join(f"{stem}\n" for stem in stems))
    return folder


GOOD = xml_object("cat", (1, 2, 11, 12))


def test_reads_boxes_as_they_stand(tmp_path: Path) -> None:
    second = xml_object("ant", (0, 0, 40, 30.5), difficult=1)  # half a pixel too far: clipped
    folder = write_voc(tmp_path / "pets", {"a": annotation(GOOD, second)})
    dataset = read_voc(folder)
    assert (dataset.name, dataset.split) == ("pets", "test")
    assert dataset.classes == ("ant", "cat")
    assert dataset.category_ids == (1, 2)
    (sample,) = dataset.samples
    assert sample.image_path == folder / "JPEGImages" / "a.jpg"
    assert (sample.image_id, sample.size_hw) == (1, (30, 40))
    np.testing.assert_array_equal(sample.boxes_xyxy, [[1, 2, 11, 12], [0, 0, 40, 30]])
    np.testing.assert_array_equal(sample.class_ids, [1, 0])
    np.testing.assert_array_equal(sample.areas, [100, 1200])
    np.testing.assert_array_equal(sample.is_crowd, [False, True])
    assert sample.boxes_xyxy.dtype == sample.areas.dtype == np.float32
    assert sample.class_ids.dtype == np.int32


def test_an_image_without_objects_stays(tmp_path: Path) -> None:
    (sample,) = read_voc(write_voc(tmp_path / "v", {"a": annotation()}), classes=["cat"]).samples
    assert sample.boxes_xyxy.shape == (0, 4)


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    texts = {
        "a": annotation(GOOD),
        "b": annotation(xml_object("ant", (1, 1, 2, 2))),
        "broken": "<annotation",
    }
    folder = write_voc(tmp_path / "v", texts, train=["a"], val=["b"])
    assert read_voc(folder, "train").classes == read_voc(folder, "val").classes == ("ant", "cat")


def test_the_name_of_a_part_is_no_class(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    folder = write_voc(
        tmp_path / "v", {"a": annotation(GOOD.replace("</object>", f"{part}</object>"))}
    )
    assert read_voc(folder).classes == ("cat",)


def test_classes_txt_fixes_the_order(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)})
    (folder / "classes.txt").write_text("zebra\ncat\n\n")
    dataset = read_voc(folder)
    assert dataset.classes == ("zebra", "cat")
    assert dataset.samples[0].class_ids.tolist() == [1]


@pytest.mark.parametrize("text", ["cat\ncat\n", "cat\n\ndog\n"])
def test_refuses_a_bad_classes_txt(tmp_path: Path, text: str) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)})
    (folder / "classes.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"classes\.txt: class names must be unique and not"):
        read_voc(folder)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            annotation(xml_object("cat", (5, 5, 5, 9))),
            6,
            r"box must have x2 > x1 and y2 > y1, got \(5, 5, 5, 9\)",
        ),
        (
            annotation(GOOD, xml_object("cat", (9, 5, 8, 9))),
            11,
            r"box must have x2 > x1 and y2 > y1, got \(9, 5, 8, 9\)",
        ),
        (
            annotation(xml_object("cat", (1, 1, 41.5, 9))),
            6,
            r"box must lie inside the image of 40x30, got \(1, 1, 41.5, 9\)",
        ),
        (annotation(xml_object("cat", (-2, 1, 4, 9))), 6, "must lie inside the image"),
        (annotation(xml_object("cat", (40, 1, 41, 9))), 6, "must lie inside the image"),
        (annotation(xml_object("cat", ("nan", 1, 4, 9))), 6, "four finite numbers"),
        (annotation(xml_object("cat", (1, 1, "inf", 9))), 6, "four finite numbers"),
        (
            annotation(xml_object("cat", ("wide", 1, 4, 9))),
            6,
            "<xmin> must be a number, got 'wide'",
        ),
        (annotation(xml_object("cat", ("", 1, 4, 9))), 6, "<xmin> must be a number, got ''"),
        (
            annotation(GOOD.replace("<name>cat</name>", "")),
            3,
            "<object> must have a <name>, got none",
        ),
        (annotation(GOOD.replace("bndbox", "box")), 3, "<object> must have a <bndbox>, got none"),
        (annotation(GOOD.replace("ymax", "y2")), 6, "<bndbox> must have a <ymax>, got none"),
        (annotation(GOOD.replace(">0</d", ">maybe</d")), 5, "<difficult> must be a number"),
        (annotation(xml_object("dog", (1, 1, 2, 2))), 4, "class must be one of cat .*, got 'dog'"),
        (annotation(GOOD, size_wh=(30, 40)), 2, r"stated size must be .* 40x30.*got 30x40"),
        (annotation(GOOD, size_wh=(0, 0)), 2, "stated size must be that of .* got 0x0"),
        (
            annotation(GOOD).replace(">40<", ">inf<"),
            2,
            "<size> must be finite, got infx30",
        ),
        ("<annotation>\n<object>\n</annotation>", 3, "must be XML, got: mismatched tag"),
        ("", 1, "must be XML, got: no element found"),
    ],
)
def test_names_file_and_line_of_a_fault(tmp_path: Path, text: str, line: int, message: str) -> None:
    folder = write_voc(tmp_path / "v", {"a": text, "b": annotation(GOOD)})
    (folder / "classes.txt").write_text("cat\n")
    with pytest.raises(DatasetError, match=rf"a\.xml:{line}: .*{message}.* pass `--on-bad skip`"):
        read_voc(folder)
    skipped = read_voc(folder, on_bad="skip")
    (problem,) = skipped.problems
    assert (problem.path.name, problem.line) == ("a.xml", line)
    assert skipped.samples[-1].image_path.name == "b.jpg"  # untouched by what is wrong in a


def test_counts_further_problems(tmp_path: Path) -> None:
    bad = xml_object("cat", (5, 5, 5, 9))
    folder = write_voc(tmp_path / "v", {"a": annotation(bad, bad), "b": annotation(bad)})
    with pytest.raises(DatasetError, match=r"a\.xml:6: .*\(2 more like this follow\)\. Mend"):
        read_voc(folder)


def test_a_tolerated_problem_is_recorded_and_others_raise(tmp_path: Path) -> None:
    bad = xml_object("cat", (5, 5, 5, 9))
    folder = write_voc(tmp_path / "v", {"a": annotation(bad, GOOD)})
    tolerated = {("a.xml", 6)}
    dataset = read_voc(folder, tolerated=tolerated)
    assert [str(problem) for problem in dataset.problems] == [
        f"{folder / 'Annotations' / 'a.xml'}:6: box must have x2 > x1 and y2 > y1, got (5, 5, 5, 9)"
    ]
    (folder / "Annotations" / "a.xml").write_text(annotation(bad, bad, GOOD))
    with pytest.raises(DatasetError, match=r"a\.xml:11"):
        read_voc(folder, tolerated=tolerated)


def test_faults_of_the_list(tmp_path: Path) -> None:
    texts = {"a": annotation(GOOD), "b": annotation(GOOD)}
    folder = write_voc(tmp_path / "v", texts, test=["a", "gone", "a", "b"])
    (folder / "Annotations" / "b.xml").unlink()
    problems = read_voc(folder, on_bad="skip").problems
    assert [(problem.path.name, problem.line) for problem in problems] == [
        ("test.txt", 2),
        ("test.txt", 3),
        ("test.txt", 4),
    ]
    assert "image must exist" in problems[0].text
    assert "listed once" in problems[1].text
    assert "annotation must exist" in problems[2].text


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_an_unusable_image_costs_the_image(tmp_path: Path, content: bytes) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD), "b": annotation(GOOD)})
    (folder / "JPEGImages" / "a.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.xml:2: `.*a\.jpg` must be an image"):
        read_voc(folder)
    skipped = read_voc(folder, on_bad="skip")
    assert [sample.image_path.name for sample in skipped.samples] == ["b.jpg"]
    assert len(skipped.problems) == 1


def test_a_turned_image_is_compared_upright(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE_WH).save(folder / "JPEGImages" / "a.jpg", exif=exif)
    with pytest.raises(DatasetError, match=r"30x40 \(its EXIF orientation applied\), got 40x30"):
        read_voc(folder)


def test_refuses_a_split_without_images(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)}, train=["a"], test=[])
    with pytest.raises(DatasetError, match="split `test` must hold at least one image, got none"):
        read_voc(folder)


def test_refuses_a_folder_without_splits(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)})
    (folder / "ImageSets" / "Main" / "test.txt").unlink()
    with pytest.raises(DatasetError, match=r"at least one split, got none.*ImageSets/Main/train"):
        read_voc(folder)


def test_lists_per_class_are_no_splits(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)}, train=["a"], cat_train=["a  1"])
    assert read_voc(folder).split == "train"
    with pytest.raises(DatasetError, match="split must be one of train, got `val`"):
        read_voc(folder, "val")


def test_refuses_another_layout(tmp_path: Path) -> None:
    assert not is_voc_folder(tmp_path)
    with pytest.raises(DatasetError, match="must hold the folders Annotations and JPEGImages"):
        read_voc(tmp_path)


def test_a_list_with_windows_line_ends_and_an_image_in_capitals(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)})
    (folder / "ImageSets" / "Main" / "test.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\n")
    (folder / "JPEGImages" / "a.jpg").rename(folder / "JPEGImages" / "a.JPG")
    assert len(read_voc(folder).samples) == 1


def test_names_the_line_of_a_byte_that_is_not_utf8(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"a": annotation(GOOD)})
    (folder / "ImageSets" / "Main" / "test.txt").write_bytes(b"a\nb\xff\n")
    with pytest.raises(DatasetError, match=r"test\.txt:2: the text must be UTF-8, got byte 0xff"):
        read_voc(folder)
