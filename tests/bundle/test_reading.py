"""A bundle that is not what it was when it was written is refused, whatever was done to it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from edgecv.bundle.manifest import Manifest
from edgecv.bundle.reading import Bundle, is_bundle, split_entry
from edgecv.bundle.writing import add, read_model
from edgecv.errors import InputError, SpecError

Make = Callable[..., Path]


@pytest.fixture
def whole(make_onnx: Make, tmp_path: Path) -> Path:
    """A bundle of two entries."""
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx()), read_model(make_onnx("half.onnx", weight=0.5), "fp16"))
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def reading(path: Path) -> dict[str, bytes]:
    with Bundle(path) as bundle:
        bundle.verify()
        return {entry.name: bundle.read(entry) for entry in bundle.manifest.entries}


@pytest.mark.parametrize(
    ("text", "bundle", "entry"),
    [
        ("b.edgecv", "b.edgecv", None),
        ("b.edgecv#fp16", "b.edgecv", "fp16"),
        ("a.edgecv#x/b.edgecv#int8-cpu", "a.edgecv#x/b.edgecv", "int8-cpu"),
        ("model.onnx", "model.onnx", None),
        ("a#b.onnx", "a#b.onnx", None),
    ],
)
def test_an_entry_is_named_after_a_hash(text: str, bundle: str, entry: str | None) -> None:
    assert split_entry(text) == split_entry(Path(text)) == (Path(bundle), entry)
    assert is_bundle(text) == bundle.endswith(".edgecv")


def test_what_was_written_is_read(whole: Path, tmp_path: Path) -> None:
    expected = {
        "fp32": (tmp_path / "model.onnx").read_bytes(),
        "fp16": (tmp_path / "half.onnx").read_bytes(),
    }
    assert reading(whole) == expected
    with Bundle(whole) as bundle:
        seen = []
        bundle.verify(lambda entry: seen.append(entry.name))
        assert seen == ["fp32", "fp16"]
        path = bundle.extract(bundle.manifest.entry("fp16"), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "fp16.onnx"
    assert path.read_bytes() == expected["fp16"]
    assert [each.name for each in path.parent.iterdir()] == ["fp16.onnx"]


def test_any_zip_tool_reads_it(whole: Path) -> None:
    with zipfile.ZipFile(whole) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "fp32.onnx", "fp16.onnx"]
        modes = {info.external_attr >> 16 for info in archive.infolist()}
    assert modes == {0o100644}


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such bundle"):
        Bundle(tmp_path / "none.edgecv")
    with pytest.raises(InputError, match="is a folder"):
        Bundle(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        Bundle(tmp_path / "file" / "b.edgecv")
    path = tmp_path / "text.edgecv"
    for content in (b"", b"text", b"PK\x05\x06" + bytes(17), b"PK\x05\x06" + b"\xff" * 18):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a whole edgecv bundle"):
            Bundle(path)
    rewrite(path, {"a.txt": b"a"})
    with pytest.raises(InputError, match=r"it holds no `manifest\.json`"):
        Bundle(path)


def test_a_truncated_bundle_is_refused(whole: Path) -> None:
    content = whole.read_bytes()
    for length in range(0, len(content), 97):
        whole.write_bytes(content[:length])
        with pytest.raises(InputError, match="not a whole edgecv bundle"):
            reading(whole)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_altered_byte_is_refused_or_changes_nothing(whole: Path, data: st.DataObject) -> None:
    content = bytearray(original := whole.read_bytes())
    directory = original.rfind(b"PK\x05\x06")
    # Half of the trials among the headers, where there is most to misunderstand.
    at = data.draw(
        st.integers(0, len(content) - 1) | st.integers(directory - 200, len(content) - 1)
    )
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        expected = reading(whole)
        altered = whole.with_name("altered.edgecv")
        altered.write_bytes(content)
        assert reading(altered) == expected
    except InputError as error:
        assert "altered.edgecv" in str(error)  # noqa: PT017  # refusal is one of two right answers


def test_a_content_with_another_checksum_is_refused(whole: Path) -> None:
    held = members(whole)
    weights = bytearray(held["fp16.onnx"])
    weights[len(weights) // 2] ^= 1
    rewrite(whole, held | {"fp16.onnx": bytes(weights)})
    with Bundle(whole) as bundle:
        assert bundle.read(bundle.manifest.entry("fp32")) == held["fp32.onnx"]
        with pytest.raises(InputError, match=r"`fp16\.onnx` does not have the checksum"):
            bundle.read(bundle.manifest.entry("fp16"))
        with pytest.raises(InputError, match="checksum"):
            bundle.extract(bundle.manifest.entry("fp16"), whole.parent / "out")
        assert list((whole.parent / "out").iterdir()) == []
        with pytest.raises(InputError, match="checksum"):
            bundle.verify()


def test_members_must_be_those_of_the_manifest(whole: Path) -> None:
    held = members(whole)
    rewrite(whole, {name: held[name] for name in ("manifest.json", "fp32.onnx")})
    with pytest.raises(InputError, match=r"`fp16\.onnx` is missing"):
        Bundle(whole)
    for name in ("../../etc/passwd", "/etc/passwd", "extra.onnx", "fp32.onnx/", "C:\\x"):
        rewrite(whole, held | {name: b"x"})
        with pytest.raises(InputError, match="of which its manifest says nothing"):
            Bundle(whole)
    rewrite(whole, held | {"fp16.onnx": held["fp16.onnx"] + b"x"})
    with pytest.raises(InputError, match="bytes instead of"):
        Bundle(whole)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(whole: Path) -> None:
    held = members(whole)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr("fp32.onnx", held["fp32.onnx"])
    with pytest.raises(InputError, match=r"it holds `fp32\.onnx` twice"):
        Bundle(whole)


def test_compressed_members_are_refused(whole: Path) -> None:
    rewrite(whole, members(whole), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed or encrypted"):
        Bundle(whole)


def test_members_in_one_anothers_place_are_refused(whole: Path) -> None:
    """Stored, a bomb can only grow by entries that overlap."""
    content = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        offsets = {info.filename: info.header_offset for info in archive.infolist()}
    # The directory's entry of fp16 claims to lie where fp32 does: 42 bytes into it, 4 bytes.
    record = content.rfind(b"fp16.onnx") - 46
    content[record + 42 : record + 46] = offsets["fp32.onnx"].to_bytes(4, "little")
    whole.write_bytes(content)
    with pytest.raises(InputError, match="claims more bytes than the archive has for it"):
        Bundle(whole)


def test_sizes_that_the_archive_does_not_have_are_refused(whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    record = content.rfind(b"fp16.onnx") - 46
    for field in (20, 24):  # stored and unpacked size
        content[record + field : record + field + 4] = (1 << 30).to_bytes(4, "little")
    whole.write_bytes(content)
    with pytest.raises(InputError, match="claims more bytes"):
        Bundle(whole)


def test_a_manifest_of_another_time_or_size_is_refused(whole: Path) -> None:
    held = members(whole)

    def with_manifest(**changes: Any) -> None:
        plain = {**json.loads(held["manifest.json"]), **changes}
        rewrite(whole, held | {"manifest.json": json.dumps(plain).encode()})

    with_manifest(schema=2)
    with pytest.raises(SpecError, match=r"b\.edgecv`: its `schema` is 2"):
        Bundle(whole)
    with_manifest(signature="x")
    with pytest.raises(SpecError, match=r"b\.edgecv`: unknown key `manifest\.signature`"):
        Bundle(whole)
    rewrite(whole, held | {"manifest.json": b" " * (16 << 20) + held["manifest.json"]})
    with pytest.raises(InputError, match=r"its `manifest\.json` has 16\d{6} bytes"):
        Bundle(whole)
    rewrite(whole, held | {"manifest.json": b"\xff\xfe"})
    with pytest.raises(InputError, match="not JSON"):
        Bundle(whole)


def test_an_entry_that_describes_another_model_is_refused(whole: Path, make_onnx: Make) -> None:
    held = members(whole)
    other = make_onnx("other.onnx", classes=("cow", "pig")).read_bytes()
    plain = json.loads(held["manifest.json"])
    plain["models"][0]["contents"] = {
        "size_bytes": len(other),
        "sha256": hashlib.sha256(other).hexdigest(),
    }
    changed = {"manifest.json": json.dumps(plain).encode(), "fp32.onnx": other}
    rewrite(whole, held | changed)
    with Bundle(whole) as bundle, pytest.raises(InputError, match=r"classes\[0\]: 'cow' and 'cat'"):
        bundle.verify()


def test_an_open_bundle_stays_what_it_was(whole: Path, make_onnx: Make) -> None:
    before = reading(whole)
    with Bundle(whole) as bundle:
        add(whole, read_model(make_onnx("new.onnx", weight=0.1)), replace_existing=True)
        assert bundle.read(bundle.manifest.entry("fp32")) == before["fp32"]
    assert reading(whole)["fp32"] != before["fp32"]


def test_reading_fills_any_stream(whole: Path) -> None:
    with Bundle(whole) as bundle:
        entry = bundle.manifest.entry("fp32")
        target = io.BytesIO()
        bundle.copy(entry, target)
        assert target.getvalue() == bundle.read(entry)
        assert Manifest.from_json(bundle.manifest.to_json()) == bundle.manifest
