"""RTSP's parts against the examples and rules of their RFCs."""

import base64
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.stream.sinks.rtsp_client import (
    RtspAddress,
    RtspPublisher,
    digest,
    nal_units,
    payloads_of,
)


def test_the_digest_of_rfc_2069() -> None:
    """The RFC's example, with the answer that its errata give."""
    answer = digest(
        "Mufasa",
        "testrealm@host.com",
        "CircleOfLife",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        method="GET",
        url="/dir/index.html",
    )
    assert answer == "1949323746fe6a43ef61f9606e7febea"


@given(st.binary(min_size=2, max_size=9000))
def test_fragments_are_the_unit_again(unit: bytes) -> None:
    unit = bytes((unit[0] & 0x7F,)) + unit[1:]
    payloads = payloads_of(unit)
    assert all(len(payload) <= 1402 for payload in payloads)
    if len(payloads) == 1:
        assert payloads == [unit]
        return
    assert [payload[1] >> 6 for payload in payloads] == [2, *[0] * (len(payloads) - 2), 1]
    assert all(payload[0] & 31 == 28 for payload in payloads)
    first = payloads[0]
    whole = bytes((first[0] & 0xE0 | first[1] & 31,)) + b"".join(part[2:] for part in payloads)
    assert whole == unit


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"\0\0\1", b"\0\0\0\1"]),
            st.binary(min_size=1).map(lambda data: data.replace(b"\0", b"\2")),
        )
    )
)
def test_units_are_found_between_start_codes(parts: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(code + unit for code, unit in parts)
    assert nal_units(stream) == [unit for _, unit in parts]


@pytest.mark.parametrize("kind", ["Basic", "Digest"])
def test_a_challenge_is_answered_once(kind: str) -> None:
    heads: list[str] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            for _ in range(2):
                text = client.recv(65536).decode()
                while "sprop-parameter-sets" not in text:
                    text += client.recv(65536).decode()
                heads.append(text)
                client.sendall(
                    f"RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: {kind} "
                    'realm="cam", nonce="abc"\r\nContent-Length: 3\r\n\r\nno!'.encode()
                )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam"
        address = RtspAddress("127.0.0.1", listener.getsockname()[1], url, "me", "hunter2")
        assert "hunter2" not in repr(address)
        with (
            RtspPublisher(address, timeout_s=10) as publisher,
            pytest.raises(OSError, match="it answered 401 Unauthorized to ANNOUNCE"),
        ):
            publisher.announce([b"\x67\x42\xe0\x1e", b"\x68\1", b"\x65\2"])
        thread.join()
    assert "Authorization" not in heads[0]
    if kind == "Basic":
        assert base64.b64encode(b"me:hunter2").decode() in heads[1]
    else:
        expected = digest("me", "cam", "hunter2", nonce="abc", method="ANNOUNCE", url=url)
        assert f'response="{expected}"' in heads[1]
        assert "hunter2" not in heads[1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answered `HTTP/1.1 400 Bad Request`, which is"),
        (b"x" * 70_000, "its answer does not end"),
    ],
)
def test_what_is_no_answer(answer: bytes, message: str) -> None:
    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(answer)
            while client.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        address = RtspAddress("127.0.0.1", port, f"rtsp://127.0.0.1:{port}/cam")
        with (
            RtspPublisher(address, timeout_s=10) as publisher,
            pytest.raises(OSError, match=message),
        ):
            publisher.announce([b"\x65\2"])
        thread.join()
