"""Fetching files over HTTP, and unpacking archives: whole and verified, or not at all.

EDGECV_MIRROR names a folder or a base URL that stands in for the whole internet: the file of
`https://host/some/path` is then read from `$EDGECV_MIRROR/host/some/path`, query left out.
"""

import hashlib
import http.client
import os
import re
import shutil
import stat
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from edgecv.errors import DownloadError, OutputError
from edgecv.files import replacing, unwritable

Progress = Callable[[int, int | None], None]

_CHUNK_BYTES = 1 << 16
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another attempt
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def fetch(
    url: str,
    destination: Path | str,
    *,
    sha256: str | None = None,
    timeout_s: float = 30.0,
    attempts: int = 4,
    backoff_s: float = 0.5,
    progress: Progress | None = None,
) -> Path:
    """Download `url` to `destination`, which appears only when it is whole and verified.

    A transfer that breaks off is resumed where the server can do so. With `sha256` what has
    arrived stays as `destination` + `.part` when the last attempt fails and the next call goes
    on from there; without, nothing stays, since nothing could tell that the file has changed in
    between. A `destination` that exists is returned as it is, unless `sha256` says otherwise.

    Args:
        url: http or https; see EDGECV_MIRROR in the module's description.
        destination: the file to write; its folder is made.
        sha256: expected checksum, 64 hexadecimal digits.
        timeout_s: longest silence of the server before an attempt is given up.
        attempts: at least 1; only what may pass is tried again (timeouts, broken connections,
            HTTP 408, 425, 429 and 5xx).
        backoff_s: pause before the second attempt, doubled before each further one.
        progress: called with (bytes done, bytes in total or None) after every piece.

    Returns:
        `destination`.

    Raises:
        DownloadError: if the file cannot be fetched or has another checksum.
        OutputError: if it cannot be written.

    """
    destination = Path(destination)
    if destination.is_file() and (sha256 is None or _file_sha256(destination) == sha256):
        return destination
    if attempts < 1:
        raise ValueError(f"fetch: `attempts` must be at least 1, got {attempts}.")
    source = _mirrored(url)
    if isinstance(source, Path):
        return _copy(source, destination, url, sha256, progress)
    if urlsplit(source).scheme not in {"http", "https"}:
        raise DownloadError(
            f"fetch: `url` must be http or https, got {source!r}. Correct the address."
        )
    keeps_part = sha256 is not None
    suffix = ".part" if keeps_part else f".{os.getpid()}.part"
    part = destination.with_name(destination.name + suffix)
    transfer = _Transfer(source, part, keeps_part, timeout_s, progress)
    with _writing(destination):
        part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _attempt_all(transfer, sha256, attempts, backoff_s)
        with _writing(destination):
            part.replace(destination)
    finally:
        if not keeps_part:
            part.unlink(missing_ok=True)
    return destination


def extract(
    archive: Path | str,
    destination: Path | str,
    *,
    under: str = "",
    keep: Collection[str] = (),
    content_sha256: str | None = None,
) -> Path:
    """Unpack a zip file into the new folder `destination`, which appears only when it is whole.

    Args:
        archive: the zip file.
        destination: a folder that does not exist yet; if it does in the end, because another
            process was faster, that one stays.
        under: the folder of the archive that becomes `destination`; all of it where empty.
        keep: names in that folder to unpack; everything where empty.
        content_sha256: expected `folder_sha256` of what was unpacked.

    Returns:
        `destination`.

    Raises:
        DownloadError: if the archive is damaged, a member would land outside of `destination` or
            is a link, nothing is to be unpacked, or the checksum differs.
        OutputError: if the folder cannot be written.

    """
    archive, destination = Path(archive), Path(destination)
    with _writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        whole = staging / "whole"
        _unpack(archive, whole, under, keep)
        if content_sha256 is not None and (found := folder_sha256(whole)) != content_sha256:
            raise DownloadError(
                f"extract: content of `{archive}` must have SHA-256 {content_sha256}, "
                f"got {found}. Delete the file and fetch it again."
            )
        with _writing(destination):
            try:
                whole.rename(destination)
            except OSError:
                if not destination.is_dir():
                    raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return destination


def folder_sha256(folder: Path) -> str:
    """Return the checksum of a folder's content: of every file's name and SHA-256, by name.

    Each file contributes the line `NAME DIGEST`, NAME relative to `folder` with slashes. Unlike
    an archive's checksum it does not change when the archive is compressed anew.
    """
    digests = {
        path.relative_to(folder).as_posix(): _file_sha256(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


class _PassingError(Exception):
    """A failure that another attempt may not meet."""


@dataclass
class _Transfer:
    """The download of one file into `part`, over as many connections as it takes."""

    url: str
    part: Path
    is_verified: bool  # by a checksum in the end: then a part of unknown version may go on
    timeout_s: float
    progress: Progress | None
    validator: str | None = None  # the ETag or date of what `part` holds the beginning of

    def run(self) -> None:
        """Fetch what is missing of `part`, over a new connection."""
        if not self.is_verified and self.validator is None:
            self.part.unlink(missing_ok=True)
        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {"User-Agent": "edgecv", "Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
            if self.validator:
                headers["If-Range"] = self.validator
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310  # fetch checks it
        with self._open(request) as response:
            self._receive(response, done)

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Return the response to `request`, its status a success."""
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310
                request, timeout=self.timeout_s
            )
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"HTTP {error.code} {error.reason}"
            if error.code == _RANGE_NOT_SATISFIABLE:
                self.part.unlink(missing_ok=True)  # not the beginning of what is there now
            elif error.code not in _PASSING_STATUS:
                raise DownloadError(_failure(self.url, reason)) from error
            raise _PassingError(reason) from error
        except (OSError, http.client.HTTPException) as error:
            raise _PassingError(self._reason(error)) from error
        return response

    def _receive(self, response: http.client.HTTPResponse, done: int) -> None:
        """Append the body to `part`, or write it anew where the server sends all of it."""
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if response.status == _PARTIAL_CONTENT:
            answered = response.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answered)
            if found is None or int(found[1]) != done:
                self.part.unlink(missing_ok=True)
                raise _PassingError(f"asked for bytes from {done}, got {answered!r}")
            total = None if found[2] == "*" else int(found[2])
        else:
            done = 0
        self.validator = _validator(response)
        with _writing(self.part), self.part.open("ab" if done else "wb") as file:
            for piece in self._pieces(response):
                file.write(piece)
                done += len(piece)
                if self.progress:
                    self.progress(done, total)
        if total is not None and done != total:
            raise _PassingError(f"connection closed after {done} of {total} bytes")

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Yield the body as it arrives; no OSError of the network leaves this function."""
        while True:
            try:
                piece = response.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _PassingError(self._reason(error)) from error
            if not piece:
                return
            yield piece

    def _reason(self, error: Exception) -> str:
        """Return why the network failed, in words."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return f"no answer for {self.timeout_s:g} s"
        return str(cause) or type(cause).__name__


def _attempt_all(transfer: _Transfer, sha256: str | None, attempts: int, backoff_s: float) -> None:
    """Run the transfer until it succeeds, with a checksum as expected if there is one."""
    was_resumed = transfer.part.exists()  # by an earlier call: perhaps of a file since replaced
    for attempt in range(attempts):
        try:
            transfer.run()
        except _PassingError as error:
            if attempt == attempts - 1:
                reason = f"{error}, after {attempts} attempts"
                raise DownloadError(_failure(transfer.url, reason)) from error
            time.sleep(backoff_s * 2**attempt)
            continue
        found = None if sha256 is None else _file_sha256(transfer.part)
        if found == sha256:
            return
        transfer.part.unlink()
        if not was_resumed or attempt == attempts - 1:
            raise DownloadError(_mismatch(transfer.url, sha256, found))
        was_resumed = False


def _copy(
    source: Path, destination: Path, url: str, sha256: str | None, progress: Progress | None
) -> Path:
    """Copy a file of a mirror folder to `destination`, verified."""
    if not source.is_file():
        raise DownloadError(
            f"fetch: EDGECV_MIRROR must hold `{source}` for {url}, got no such file. "
            "Put the file there or unset EDGECV_MIRROR."
        )
    with replacing(destination) as partial:
        try:
            shutil.copyfile(source, partial)
        except PermissionError as error:
            raise DownloadError(
                f"fetch: `{source}` of EDGECV_MIRROR must be readable, got {error.strerror}. "
                "Change its permissions or unset EDGECV_MIRROR."
            ) from error
        found = None if sha256 is None else _file_sha256(partial)
        if found != sha256:
            raise DownloadError(_mismatch(str(source), sha256, found))
    if progress:
        total = destination.stat().st_size
        progress(total, total)
    return destination


def _mirrored(url: str) -> Path | str:
    """Return where EDGECV_MIRROR has the file of `url`, or `url` itself where it is not set."""
    mirror = os.environ.get("EDGECV_MIRROR")
    if not mirror:
        return url
    parts = urlsplit(url)
    place = (parts.hostname or "") + parts.path
    if "://" in mirror:
        return f"{mirror.rstrip('/')}/{place}"
    return Path(mirror).expanduser() / unquote(place)


def _validator(response: http.client.HTTPResponse) -> str | None:
    """Return what tells this version of the file from others, for If-Range."""
    tag = response.headers.get("ETag")
    # RFC 9110, section 13.1.5: a weak tag must not stand in If-Range.
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _unpack(archive: Path, folder: Path, under: str, keep: Collection[str]) -> None:
    """Write the members of `archive` that lie under `under` into `folder`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for member, name in _wanted(opened, archive, under, keep):
                target = folder / name
                with _writing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as file, opened.open(member) as stream:
                        shutil.copyfileobj(stream, file)
    # zlib's errors and RuntimeError (encrypted members) are not subclasses of BadZipFile.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DownloadError(
            f"extract: `{archive}` must be a zip file, got a damaged one ({error}). "
            "Delete the file and fetch it again."
        ) from error
    if not folder.is_dir():
        raise DownloadError(
            f"extract: `{archive}` must hold files under `{under}`, got none. "
            "Delete the file and fetch it again."
        )


def _wanted(
    opened: zipfile.ZipFile, archive: Path, under: str, keep: Collection[str]
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Yield the members to unpack and their names below `under`, after checking all names."""
    for member in opened.infolist():
        name = PurePosixPath(member.filename)
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        # A colon would name a drive on Windows, a backslash a folder.
        is_outside = name.is_absolute() or ".." in name.parts or set(":\\") & set(str(name))
        if is_link or is_outside:
            kind = "a link" if is_link else "a path outside of it"
            raise DownloadError(
                f"extract: members of `{archive}` must be files inside the target folder, "
                f"got {kind}: {member.filename!r}. Do not use this archive."
            )
        if member.is_dir() or not name.is_relative_to(under):
            continue
        name = name.relative_to(under)
        if name.parts and (not keep or name.parts[0] in keep):
            yield member, name


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block, which does nothing but write `path`, into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(unwritable(path, error)) from error


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _failure(url: str, reason: str) -> str:
    return (
        f"fetch: `{url}` must be fetched, got: {reason}. "
        "Check the network, or name a copy: EDGECV_MIRROR (a folder or base URL with the file at "
        "HOST/PATH) or EDGECV_DATA (a folder with the data sets)."
    )


def _mismatch(origin: str, expected: str | None, found: str | None) -> str:
    return (
        f"fetch: `{origin}` must have SHA-256 {expected}, got {found}. "
        "The file was replaced or damaged on the way: try again or use another mirror."
    )
