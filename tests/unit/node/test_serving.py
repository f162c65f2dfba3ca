"""The node's HTTP server, spoken to over raw sockets."""

from __future__ import annotations

import contextlib
import logging
import resource
import select
import socket
import threading
from collections.abc import Iterator

import pytest
from flask import Flask, request

from node.web.serving import HttpServer

HANDS = 4
TEN_BYTES = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


class Held:
    """An application that echoes; on /held it does not answer before it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.reached = threading.Event()
        self.app = Flask("echo")
        self.app.add_url_rule("/echo", view_func=lambda: request.get_data(), methods=["POST"])
        self.app.add_url_rule("/held", view_func=self._held)

    def _held(self) -> str:
        self.reached.set()
        self.released.wait(10)
        return "at last"


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def server(held: Held) -> Iterator[HttpServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(held.app, listener, connections=HANDS)
    server.start()
    yield server
    held.released.set()
    server.stop()


@contextlib.contextmanager
def connected(server: HttpServer) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=10) as connection:
        yield connection


def read(connection: socket.socket, until: bytes) -> bytes:
    """What arrives, up to and including `until`; less if the connection ends before."""
    data = b""
    while not data.endswith(until) and (more := connection.recv(65536)):
        data += more
    return data


def test_requests_sent_ahead_are_answered_in_order_on_the_same_connection(server: HttpServer) -> None:
    with connected(server) as connection:
        connection.sendall(b"".join(TEN_BYTES + b"number %03d" % number for number in range(50)))
        said = read(connection, b"number 049")
    assert [int(part[:3]) for part in said.split(b"number ")[1:]] == list(range(50))
    assert said.count(b"HTTP/1.1 200 OK") == 50


def test_a_request_may_come_in_pieces(server: HttpServer) -> None:
    with connected(server) as connection:
        for byte in TEN_BYTES + b"0123456789":
            connection.sendall(bytes([byte]))
        assert read(connection, b"0123456789").startswith(b"HTTP/1.1 200 OK")


def test_half_a_request_holds_up_nobody_else(server: HttpServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(HANDS - 1):
            stack.enter_context(connected(server)).sendall(TEN_BYTES + b"half")
        with connected(server) as connection:
            connection.sendall(TEN_BYTES + b"0123456789")
            assert read(connection, b"0123456789").endswith(b"0123456789")


def test_whoever_finds_no_room_is_served_when_another_leaves_and_not_before(server: HttpServer) -> None:
    with contextlib.ExitStack() as stack:
        served = [stack.enter_context(connected(server)) for _ in range(HANDS)]
        for connection in served:
            connection.sendall(TEN_BYTES + b"0123456789")
            assert read(connection, b"0123456789").endswith(b"0123456789")
        late = stack.enter_context(connected(server))
        late.sendall(TEN_BYTES + b"9876543210")
        assert select.select([late], [], [], 0.05) == ([], [], [])
        served[0].close()
        assert read(late, b"9876543210").endswith(b"9876543210")


def test_a_client_that_asks_whether_to_go_on_is_told_to(server: HttpServer) -> None:
    with connected(server) as connection:
        connection.sendall(TEN_BYTES.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert read(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"0123456789")
        assert read(connection, b"0123456789").startswith(b"HTTP/1.1 200 OK")


def test_what_is_no_http_is_refused_and_the_connection_closed(server: HttpServer) -> None:
    with connected(server) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert read(connection, b"never").startswith(b"HTTP/1.0 400 Bad Request")


def test_a_client_of_http_1_0_is_answered_and_let_go(server: HttpServer) -> None:
    with connected(server) as connection:
        connection.sendall(TEN_BYTES.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0123456789")
        assert read(connection, b"never").endswith(b"0123456789")


def test_who_is_being_answered_when_it_stops_gets_the_answer(
    server: HttpServer, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.web.serving.STOP_S", 10)
    with connected(server) as connection:
        connection.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held.reached.wait(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        stopping.join(0.05)
        assert stopping.is_alive(), "the process may end with it"
        held.released.set()
        assert read(connection, b"never").endswith(b"at last")
        stopping.join()
    with pytest.raises(ConnectionRefusedError), connected(server):
        pass


class Heard(logging.Handler):
    """Says when anything was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.anything.set()


def test_running_out_of_files_costs_those_who_are_served_nothing(server: HttpServer) -> None:
    heard = Heard()
    logging.getLogger("node.web.serving").addHandler(heard)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connected(server) as served, socket.socket() as late:
        served.sendall(TEN_BYTES + b"0123456789")
        assert read(served, b"0123456789").endswith(b"0123456789")
        late.settimeout(10)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            late.connect(server.address)
            assert heard.anything.wait(10)
            served.sendall(TEN_BYTES + b"still here")
            assert read(served, b"still here").endswith(b"still here")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            logging.getLogger("node.web.serving").removeHandler(heard)
        late.sendall(TEN_BYTES + b"served too")
        assert read(late, b"served too").endswith(b"served too")
