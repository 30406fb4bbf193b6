"""Opening a bundle: nothing in it is believed before it was checked."""

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edgecv.bundle.manifest import (
    MANIFEST_FILE,
    SUFFIX,
    CalibrationEntry,
    EngineEntry,
    Entry,
    Manifest,
    common_spec,
    differences,
)
from edgecv.bundle.onnx_header import read_header
from edgecv.closing import Closing
from edgecv.errors import InputError, SpecError
from edgecv.files import replacing

_LARGEST_MANIFEST_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_LOCAL_HEADER_BYTES = 30  # without the name (PKWARE's APPNOTE.TXT, section 4.3.7)
_IS_ENCRYPTED = 0x1

# What `zipfile` raises for an archive that it cannot follow.
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


def split_entry(path: Path | str) -> tuple[Path, str | None]:
    """Return the bundle and the entry that `b.edgecv#fp16` names; None where it names none."""
    text = str(path)
    head, mark, entry = text.rpartition(f"{SUFFIX}#")
    return (Path(head + SUFFIX), entry) if mark else (Path(text), None)


def is_bundle(path: Path | str) -> bool:
    """Tell whether a path names a bundle or one of its entries."""
    return split_entry(path)[0].suffix.lower() == SUFFIX


class Bundle(Closing):
    """A bundle, open for reading.

    The archive and its manifest are checked when it opens, an entry when it is read. A file that
    is replaced meanwhile does no harm: what was open stays what it was.

    Raises:
        InputError: if the file is missing, or is not a whole and consistent bundle.
        SpecError: if its manifest is of a newer schema or is not understood.

    """

    def __init__(self, path: Path | str) -> None:
        """Open `path`."""
        self.path = Path(path)
        if self.path.is_dir():
            raise InputError(f"`{path}` is a folder, not a bundle. Name the file in it.")
        try:
            self._file: IO[bytes] = self.path.open("rb")
        except FileNotFoundError as error:
            raise InputError(f"`{path}`: there is no such bundle. Check the path.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"`{path}` cannot be read: {reason}. Check the path.") from error
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._members = self._check_members()
            manifest = self._read_manifest()
        except SpecError as error:
            raise SpecError(f"`{self.path}`: {error}") from error
        except InputError:
            raise
        except _DAMAGE as error:
            raise self._damaged(str(error)) from error
        except OSError as error:  # an offset in the archive that lies before its beginning
            raise self._damaged(error.strerror or str(error)) from error
        self.manifest = manifest
        self._check_against_manifest()

    def read(self, entry: Entry) -> bytes:
        """Return an entry's file.

        Raises:
            InputError: if it is not what the manifest says.

        """
        target = io.BytesIO()
        self.copy(entry, target)
        return target.getvalue()

    def copy(self, entry: Entry, target: IO[bytes]) -> None:
        """Write an entry's file to `target`, in pieces.

        Raises:
            InputError: if it is not what the manifest says; `target` is to be thrown away then.

        """
        digest = hashlib.sha256()
        try:
            with self._zip.open(self._members[entry.file]) as source:
                while piece := source.read(_CHUNK_BYTES):
                    digest.update(piece)
                    target.write(piece)
        except _DAMAGE as error:
            raise self._damaged(f"`{entry.file}`: {error}") from error
        if digest.hexdigest() != entry.contents.sha256:
            raise self._damaged(f"`{entry.file}` does not have the checksum of the manifest")

    def extract(self, entry: Entry, folder: Path) -> Path:
        """Write an entry's file into a folder, under its name, whole or not at all.

        Raises:
            InputError: if it is not what the manifest says.
            OutputError: if it cannot be written.

        """
        path = folder / entry.file
        with replacing(path) as partial, partial.open("wb") as target:
            self.copy(entry, target)
        return path

    def check_description(self, entry: Entry, content: bytes) -> None:
        """Refuse an ONNX file that is described otherwise than the bundle.

        Args:
            entry: what it is.
            content: what `read` returned of it.

        Raises:
            InputError: naming what differs.

        """
        if isinstance(entry, EngineEntry | CalibrationEntry):
            return
        header = read_header(content, path=f"{self.path}#{entry.name}")
        found = differences(common_spec(header.spec), self.manifest.spec)
        if header.plugins != entry.plugins:
            found.append(f"plugins: {header.plugins} and {entry.plugins}")
        if found:
            raise self._damaged(
                f"`{entry.file}` and the manifest describe different models ({'; '.join(found)})"
            )

    def verify(self, on_entry: Callable[[Entry], None] = lambda _: None) -> None:
        """Check every byte that the manifest vouches for.

        Args:
            on_entry: called after each entry that is as it should be.

        Raises:
            InputError: at the first that is not.

        """
        for entry in self.manifest.entries:
            self.check_description(entry, self.read(entry))
            on_entry(entry)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def _check_members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the members by name, where each lies in a place of its own."""
        members: dict[str, zipfile.ZipInfo] = {}
        infos = sorted(self._zip.infolist(), key=lambda info: info.header_offset)
        ends = [*(info.header_offset for info in infos[1:]), self._zip.start_dir]
        for info, end in zip(infos, ends, strict=True):
            name = info.filename
            if name in members:
                raise self._damaged(f"it holds `{name}` twice")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _IS_ENCRYPTED:
                raise self._damaged(f"`{name}` is compressed or encrypted, which no bundle's is")
            begin = info.header_offset + _LOCAL_HEADER_BYTES + len(info.orig_filename.encode())
            if info.compress_size != info.file_size or begin + info.file_size > end:
                raise self._damaged(f"`{name}` claims more bytes than the archive has for it")
            members[name] = info
        return members

    def _read_manifest(self) -> Manifest:
        info = self._members.get(MANIFEST_FILE)
        if info is None:
            raise self._damaged(f"it holds no `{MANIFEST_FILE}`")
        if info.file_size > _LARGEST_MANIFEST_BYTES:
            raise self._damaged(f"its `{MANIFEST_FILE}` has {info.file_size} bytes")
        return Manifest.from_json(self._zip.read(info))

    def _check_against_manifest(self) -> None:
        promised = {entry.file: entry.contents for entry in self.manifest.entries}
        present = self._members.keys() - {MANIFEST_FILE}
        for name in sorted(present - promised.keys()):
            raise self._damaged(f"it holds {name!r}, of which its manifest says nothing")
        for name, contents in promised.items():
            if name not in present:
                raise self._damaged(f"`{name}` is missing")
            size = self._members[name].file_size
            if size != contents.size_bytes:
                raise self._damaged(f"`{name}` has {size} bytes instead of {contents.size_bytes}")

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"`{self.path}` is not a whole edgecv bundle: {reason}. Copy it again from where it "
            "was made, or make it anew with `edgecv bundle add`."
        )
