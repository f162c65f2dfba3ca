"""A load generator that costs next to nothing: the measured node shares its two cores.

It has keep-alive sockets in one thread, writes whole requests from bytes, and reads only the status and the length of
an answer: about 20 us a request, where `requests` takes 450 and would measure itself.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from faults.links import Address

ANSWER_TIMEOUT_S = 10.0
END_OF_HEAD = b"\r\n\r\n"


class Timed(NamedTuple):
    """One request, from when it was written to when its whole answer was read, on the monotonic clock."""

    sent_s: float
    answered_s: float
    status: int

    @property
    def latency_ms(self) -> float:
        return (self.answered_s - self.sent_s) * 1000


def drive(address: Address, requests: Iterable[bytes], *, connections: int = 1) -> Iterator[Timed]:
    """Send `requests` over so many connections, each of which sends its next one as soon as its answer is in; yields
    the answers.

    Raises OSError where a connection breaks or is not answered in `ANSWER_TIMEOUT_S`.
    """
    waiting = iter(requests)
    with selectors.DefaultSelector() as selector:
        try:
            for request in itertools.islice(waiting, connections):
                connection = _Connection(address)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                connection.send(request)
            while selector.get_map():
                yield from _answers(selector, waiting)
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()


def _answers(selector: selectors.BaseSelector, waiting: Iterator[bytes]) -> Iterator[Timed]:
    """The answers that are in. Each of their connections sends its next request, or is closed if there is none."""
    ready = selector.select(ANSWER_TIMEOUT_S)
    if not ready:
        raise TimeoutError(f"no answer for {ANSWER_TIMEOUT_S:g} s")
    for key, _ in ready:
        connection: _Connection = key.data
        answer = connection.receive()
        if answer is None:
            continue
        request = next(waiting, None)
        if request is None:
            selector.unregister(connection.socket)
            connection.socket.close()
        else:
            connection.send(request)
        yield answer


class _Connection:
    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._sent_s = 0.0

    def send(self, request: bytes) -> None:
        self._sent_s = time.monotonic()
        self.socket.sendall(request)

    def receive(self) -> Timed | None:
        """The answer, once it is here whole."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the node closed the connection instead of answering")
        self._received += data
        head, end, body = self._received.partition(END_OF_HEAD)
        if not end or len(body) < _content_length(head):
            return None
        self._received = b""
        return Timed(self._sent_s, time.monotonic(), int(head[9:12]))


def _content_length(head: bytes) -> int:
    """Raises ValueError if the head has none: the end of the answer could not be told."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without a length: {head.decode(errors='replace')}")
    return int(rest.partition(b"\r\n")[0])
