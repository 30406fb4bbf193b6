"""fetch and extract against a server, an archive and a mirror that misbehave."""

import hashlib
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgecv.data.download import extract, fetch, folder_sha256
from edgecv.errors import DownloadError, OutputError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CUT_AT = 100_000

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; the server's next answer decides what becomes of it."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.ranges.append(self.headers.get("Range"))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def begin(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


@dataclass
class Server(ThreadingHTTPServer):
    """Gives `answers` one after the other, the last one for ever; notes the Range of each."""

    answers: list[Answer] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)

    def url(self, path: str = "/some/file.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("EDGECV_MIRROR", raising=False)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def status(code: int) -> Answer:
    return lambda request: request.begin(code, 0)


def whole(content: bytes = CONTENT, **headers: str) -> Answer:
    """All of it, whatever range was asked for."""

    def answer(request: Request) -> None:
        request.begin(200, len(content), **headers)
        request.wfile.write(content)

    return answer


def cut(*, at: int = CUT_AT, **headers: str) -> Answer:
    """The beginning of a whole answer, then the end of the connection."""

    def answer(request: Request) -> None:
        request.begin(200, len(CONTENT), **headers)
        request.wfile.write(CONTENT[:at])

    return answer


def rest(request: Request) -> None:
    """The range that was asked for."""
    start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    piece = CONTENT[start:]
    answered = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    request.begin(206, len(piece), Content_Range=answered, ETag='"1"')
    request.wfile.write(piece)


def stall(request: Request) -> None:
    """A beginning, then silence for longer than the tests' timeout."""
    request.begin(200, len(CONTENT), ETag='"1"')
    request.wfile.write(CONTENT[:CUT_AT])
    request.wfile.flush()
    time.sleep(0.6)


def download(server: Server, destination: Path, **options: object) -> Path:
    return fetch(server.url(), destination, **({"backoff_s": 0.01, "timeout_s": 5.0} | options))  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetches_a_file_and_reports_progress(server: Server, tmp_path: Path) -> None:
    server.answers = [whole()]
    calls: list[tuple[int, int | None]] = []
    destination = tmp_path / "new" / "file.bin"
    path = download(server, destination, sha256=SHA256, progress=lambda *call: calls.append(call))
    assert path == destination
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]
    assert calls == sorted(calls)
    assert calls[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    assert download(server, path, sha256=SHA256).read_bytes() == CONTENT
    assert download(server, path).read_bytes() == CONTENT
    assert server.ranges == []


def test_a_file_with_another_checksum_is_replaced(server: Server, tmp_path: Path) -> None:
    server.answers = [whole()]
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    assert download(server, path, sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_resumes_after_a_cut(server: Server, tmp_path: Path, sha256: str | None) -> None:
    server.answers = [cut(ETag='"1"'), rest]
    path = download(server, tmp_path / "file.bin", sha256=sha256)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CUT_AT}-"]
    assert names(tmp_path) == ["file.bin"]


def test_resumes_after_a_stall(server: Server, tmp_path: Path) -> None:
    server.answers = [stall, rest]
    path = download(server, tmp_path / "file.bin", sha256=SHA256, timeout_s=0.2)
    assert path.read_bytes() == CONTENT
    assert server.ranges[1] == f"bytes={CUT_AT}-"


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.answers = [cut(ETag='"1"'), whole()]
    assert download(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_starts_over_when_nothing_could_tell_a_changed_file(server: Server, tmp_path: Path) -> None:
    server.answers = [cut(), whole()]  # neither ETag nor date, and no checksum
    assert download(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_range_that_was_not_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    def shifted(request: Request) -> None:
        request.begin(206, 5, Content_Range=f"bytes 5-9/{len(CONTENT)}")
        request.wfile.write(CONTENT[5:10])

    server.answers = [cut(ETag='"1"'), shifted, whole()]
    assert download(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_the_next_call_goes_on_where_the_last_one_gave_up(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    server.answers = [cut()]
    with pytest.raises(DownloadError, match=f"closed after {CUT_AT} of {len(CONTENT)} bytes, afte"):
        download(server, path, sha256=SHA256, attempts=1)
    assert names(tmp_path) == ["file.bin.part"]
    server.answers = [rest]
    assert download(server, path, sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={CUT_AT}-"
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("part", [b"of another version", CONTENT + b"longer"])
def test_a_part_of_another_file_costs_a_fresh_start(
    server: Server, tmp_path: Path, part: bytes
) -> None:
    def rest_if_any(request: Request) -> None:
        (rest if len(part) < len(CONTENT) else status(416))(request)

    (tmp_path / "file.bin.part").write_bytes(part)
    server.answers = [rest_if_any, whole()]
    assert download(server, tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(part)}-", None]


def test_a_missing_file_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    server.answers = [status(404)]
    with pytest.raises(DownloadError, match=r"file\.bin` must be fetched, got: HTTP 404 .*MIRROR"):
        download(server, tmp_path / "file.bin")
    assert len(server.ranges) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_passing_failure_is_tried_again(server: Server, tmp_path: Path, code: int) -> None:
    server.answers = [status(code), status(code), whole()]
    assert download(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_attempts_are_bounded(server: Server, tmp_path: Path) -> None:
    server.answers = [status(500)]
    with pytest.raises(DownloadError, match=r"HTTP 500 .*, after 3 attempts\. Check the network"):
        download(server, tmp_path / "file.bin", attempts=3)
    assert len(server.ranges) == 3
    with pytest.raises(ValueError, match="`attempts` must be at least 1, got 0"):
        download(server, tmp_path / "file.bin", attempts=0)


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda _: time.sleep(0.6)]
    with pytest.raises(DownloadError, match=r"no answer for 0\.2 s, after 2 attempts"):
        download(server, tmp_path / "file.bin", attempts=2, timeout_s=0.2)
    assert names(tmp_path) == []


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.answers = [whole(b"forged")]
    forged = hashlib.sha256(b"forged").hexdigest()
    with pytest.raises(DownloadError, match=f"must have SHA-256 {SHA256}, got {forged}"):
        download(server, tmp_path / "file.bin", sha256=SHA256)
    assert names(tmp_path) == []
    assert len(server.ranges) == 1


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    url = server.url()
    server.socket.close()
    with pytest.raises(DownloadError, match=r"must be fetched, got: .*refused.*EDGECV_DATA"):
        fetch(url, tmp_path / "file.bin", attempts=2, backoff_s=0.01)


def test_refuses_other_schemes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECV_MIRROR", raising=False)
    with pytest.raises(DownloadError, match="must be http or https, got 'file:///etc/hosts'"):
        fetch("file:///etc/hosts", tmp_path / "hosts")


def test_an_unwritable_folder_is_an_output_error(server: Server, tmp_path: Path) -> None:
    server.answers = [whole()]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        download(server, tmp_path / "file" / "below.bin")


def test_a_mirror_folder_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_MIRROR", str(tmp_path / "mirror"))
    url = "https://example.org/some/a%20file.bin?version=2"
    with pytest.raises(DownloadError, match=r"must hold `.*example\.org/some/a file\.bin`"):
        fetch(url, tmp_path / "out" / "file.bin")
    copy = tmp_path / "mirror" / "example.org" / "some" / "a file.bin"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(CONTENT)
    path = fetch(url, tmp_path / "out" / "file.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    copy.write_bytes(b"forged")
    with pytest.raises(DownloadError, match="must have SHA-256"):
        fetch(url, tmp_path / "out" / "other.bin", sha256=SHA256)
    assert names(tmp_path / "out") == ["file.bin"]


def test_a_mirror_address_stands_in(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []

    def answer(request: Request) -> None:
        paths.append(request.path)
        whole()(request)

    server.answers = [answer]
    monkeypatch.setenv("EDGECV_MIRROR", server.url("/mirror/"))
    fetch("https://example.org/some/file.bin", tmp_path / "file.bin")
    assert paths == ["/mirror/example.org/some/file.bin"]


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


MEMBERS = {"top/in/a.txt": b"a", "top/in/sub/b.txt": b"b", "top/in/notes": b"", "top/x": b"x"}


def test_extracts_a_folder_of_an_archive(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", MEMBERS)
    folder = extract(archive, tmp_path / "out", under="top/in", keep=("a.txt", "sub"))
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert found == {"a.txt": b"a", "sub/b.txt": b"b"}
    assert names(folder) == ["a.txt", "sub"]
    assert names(extract(archive, tmp_path / "all")) == ["top"]
    assert names(tmp_path) == ["a.zip", "all", "out"]


def test_the_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    folder = extract(write_zip(tmp_path / "a.zip", MEMBERS), tmp_path / "one", under="top/in/sub")
    definition = f"b.txt {hashlib.sha256(b'b').hexdigest()}\n".encode()
    assert folder_sha256(folder) == hashlib.sha256(definition).hexdigest()
    reordered = dict(reversed(MEMBERS.items()))
    other = extract(write_zip(tmp_path / "b.zip", reordered), tmp_path / "two", under="top/in")
    same = extract(tmp_path / "a.zip", tmp_path / "three", under="top/in")
    assert folder_sha256(other) == folder_sha256(same)
    extract(
        tmp_path / "a.zip", tmp_path / "four", under="top/in", content_sha256=folder_sha256(same)
    )
    (same / "a.txt").write_text("changed")
    with pytest.raises(DownloadError, match=r"content of .* must have SHA-256"):
        extract(
            tmp_path / "a.zip",
            tmp_path / "five",
            under="top/in",
            content_sha256=folder_sha256(same),
        )
    assert not (tmp_path / "five").exists()


@pytest.mark.parametrize(
    "name", ["../evil.txt", "top/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt"]
)
def test_refuses_a_member_that_would_land_outside(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "a.zip", {"good.txt": b"", name: b"evil"})
    with pytest.raises(DownloadError, match="files inside the target folder, got a path outside"):
        extract(archive, tmp_path / "deep" / "out")
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
    assert names(tmp_path / "deep") == []


def test_refuses_a_link(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="got a link: 'link'"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no zip", "empty"])
def test_refuses_a_damaged_archive(tmp_path: Path, damage: str) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.bin": CONTENT})
    raw = path.read_bytes()
    flipped = raw[:1000] + bytes([raw[1000] ^ 0xFF]) + raw[1001:]
    path.write_bytes(
        {"truncated": raw[:1000], "flipped": flipped, "no zip": b"<html>", "empty": b""}[damage]
    )
    with pytest.raises(DownloadError, match="must be a zip file, got a damaged one"):
        extract(path, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_refuses_an_archive_without_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="must hold files under `elsewhere`, got none"):
        extract(write_zip(tmp_path / "a.zip", MEMBERS), tmp_path / "out", under="elsewhere")


def test_a_folder_that_another_process_finished_first_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "theirs").touch()
    extract(write_zip(tmp_path / "a.zip", MEMBERS), tmp_path / "out")
    assert names(tmp_path / "out") == ["theirs"]
    assert names(tmp_path) == ["a.zip", "out"]
