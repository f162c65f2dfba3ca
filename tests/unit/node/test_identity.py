"""Who is asked, and what is made of the answer."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from node.config import Address
from node.identity import Identity, UnidentifiedError, ask

MEANT = "n2.example:7002"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(20)
        yield found


def asked(listener: socket.socket, status: str, body: bytes) -> tuple[bytes, Future[Identity]]:
    """What is sent to whom MEANT stands for, and what comes of such an answer."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(ask, MEANT, {MEANT: Address(*listener.getsockname())})
        with listener.accept()[0] as connection:
            request = connection.recv(65536)
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return request, found


def test_a_node_is_asked_by_the_address_that_it_gave_whatever_is_dialled(listener: socket.socket) -> None:
    request, found = asked(listener, "200 OK", b'{"node_id": "n2", "cluster_id": ""}')
    assert b"\r\nHost: n2.example:7002\r\n" in request
    assert found.result() == Identity("n2", "")


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff", b"{}", b'{"node_id": "", "cluster_id": ""}'])
def test_who_says_something_else_is_no_node(listener: socket.socket, body: bytes) -> None:
    _, found = asked(listener, "200 OK", body)
    with pytest.raises(UnidentifiedError, match=r"what answers at n2\.example:7002 is no node"):
        found.result()


def test_what_is_no_http_is_nobody(listener: socket.socket) -> None:
    _, found = asked(listener, "and more", b"")
    with pytest.raises(UnidentifiedError, match=r"nobody answers at n2\.example:7002"):
        found.result()


def test_where_nobody_listens_is_nobody(listener: socket.socket) -> None:
    there = Address(*listener.getsockname())
    listener.close()
    with pytest.raises(UnidentifiedError, match=r"nobody answers at n2\.example:7002"):
        ask(MEANT, {MEANT: there})


def test_who_answers_nothing_is_not_waited_for(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.identity.TIMEOUT_S", 0.01)
    with pytest.raises(UnidentifiedError, match="timed out"):
        ask(MEANT, {MEANT: Address(*listener.getsockname())})


def test_who_refuses_to_be_asked_is_quoted(listener: socket.socket) -> None:
    _, found = asked(listener, "421 Misdirected Request", b'{"error": "unknown host", "message": "the way out"}')
    with pytest.raises(UnidentifiedError, match=r"n2\.example:7002 does not say who it is: .*the way out"):
        found.result()


def test_whom_the_map_has_by_another_spelling_is_asked_there(listener: socket.socket) -> None:
    there = Address(*listener.getsockname())
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(ask, "localhost:7302", {"127.0.0.1:7302": there})
        with listener.accept()[0] as connection:
            assert b"\r\nHost: localhost:7302\r\n" in connection.recv(65536)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{"node_id":"cy","cluster_id":"x"} ')
        assert found.result() == Identity("cy", "x")


def test_whom_the_map_has_not_is_not_asked(listener: socket.socket) -> None:
    meant = f"localhost:{listener.getsockname()[1]}"
    with pytest.raises(UnidentifiedError, match=f"KONSUL_RAFT_DIAL has no way to {meant}"):
        ask(meant, {"127.0.0.1:1": Address("127.0.0.1", 2)})
    assert select.select([listener], [], [], 0.05) == ([], [], [])
