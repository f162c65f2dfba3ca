"""Which port a node listens on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from node.config import ConfigError, FirstFree
from node.web.http import bind

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody holds and does not listen on, as the bench does for its links."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, 0))
        yield holder.getsockname()[1]


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_the_first_free_port_is_none_that_is_only_held(taken: int) -> None:
    with contextlib.closing(bind(HOST, FirstFree(taken), "tests")) as listener:
        assert port_of(listener) > taken
        with socket.create_connection((HOST, port_of(listener))):
            listener.accept()[0].close()


def test_a_port_that_was_asked_for_and_is_listened_on_is_told_with_what_it_is_for_and_no_other_is_taken() -> None:
    with socket.create_server((HOST, 0)) as other:
        said = f"{HOST}:{port_of(other)} cannot be listened on .*, for tests; choose another"
        with pytest.raises(ConfigError, match=said):
            bind(HOST, port_of(other), "tests")


def test_a_port_that_was_asked_for_is_taken_though_a_connection_to_it_has_just_ended() -> None:
    """A node that is started again at once."""
    with contextlib.closing(bind(HOST, 0, "tests")) as before:
        port = port_of(before)
        with socket.create_connection((HOST, port)) as client:
            before.accept()[0].close()
            assert client.recv(1) == b""
    bind(HOST, port, "tests").close()


def test_an_address_that_is_not_this_machines_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:\d+ cannot be listened on"):
        bind("192.0.2.1", FirstFree(20000), "tests")
