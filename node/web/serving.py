"""Flask behind waitress's parser and tasks, with a thread for each connection.

waitress's own server reads every connection in one thread. At every turn that thread asks each connection whether it
wants to read or write, and it hands each request to a thread of a pool. A pipe wakes it after each answer, and it spins
while an answer is under way. With 64 clients most of the interpreter's time went there. Here the thread that reads a
request answers it, in one write, so the only hand-over left is the one to the driver and back. A connection that falls
silent in the middle of a request, or does not read its answer, holds up its own thread and no other.

This module uses waitress's internals (`check_waitress`). waitress's tasks use `HttpServer` and `_Connection`, by the
names that they expect.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import threading
import time
from typing import Any

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask

from node.config import Address

IDLE_S = 120
"""A connection that sends nothing, or does not take its answer, for this long is closed."""
STOP_S = 1.0
RETRY_S = 0.1
RECEIVE_BYTES = 256 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

USED_OF_WAITRESS: dict[type, tuple[str, ...]] = {
    HTTPRequestParser: ("received", "completed", "empty", "error", "expect_continue", "headers_finished", "close"),
    WSGITask: ("service", "close_on_finish"),
    ErrorTask: ("service", "close_on_finish"),
}

log = logging.getLogger(__name__)


def check_waitress() -> None:
    """Raises RuntimeError when waitress lacks a name that is used here. Written for waitress 3.0.2."""
    for kind, names in USED_OF_WAITRESS.items():
        for name in names:
            if not hasattr(kind, name):
                raise RuntimeError(
                    f"waitress's {kind.__name__} has no {name}: install waitress 3.0.2, or mend {__name__}"
                )


class HttpServer:
    """A WSGI `application` on `listener` from `start` to `stop`, for at most `connections` at a time.

    A further one waits in the listener's backlog until another is closed.
    """

    def __init__(self, application: Any, listener: socket.socket, *, connections: int) -> None:
        check_waitress()
        self.application = application
        self.adj = Adjustments(ident=None)
        self.address = Address(*listener.getsockname()[:2])
        self.server_name, self.effective_port = self.address
        self.stopping = False
        self._listener = listener
        self._room = threading.Semaphore(connections)
        self._open: dict[socket.socket, threading.Thread] = {}
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name=f"http-{self.address.port}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing more; a request under way gets its answer, if that is there within `STOP_S`."""
        self.stopping = True
        self._wake.close()
        self._room.release()
        self._thread.join()
        still_open = list(self._open.items())
        for connection, _ in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        deadline = time.monotonic() + STOP_S
        for _, thread in still_open:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        with self._listener, self._woken:
            while self._room.acquire() and not self.stopping:
                ready, _, _ = select.select([self._listener, self._woken], [], [])
                if self._woken in ready:
                    return
                try:
                    accepted, peer = self._listener.accept()
                    threading.Thread(
                        target=self._serve, args=(accepted, peer), name=f"http-{peer[1]}", daemon=True
                    ).start()
                except (OSError, RuntimeError) as error:
                    # Too many files or threads in this process. The connection still waits, so look again later.
                    log.warning("a connection could not be accepted: %s", error)
                    self._room.release()
                    select.select([self._woken], [], [], RETRY_S)

    def _serve(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        self._open[accepted] = threading.current_thread()
        try:
            with accepted:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # Not settimeout: with it Python polls before each call, and so releases and retakes the interpreter's
                # lock twice instead of once. Under load that is what costs.
                for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                    accepted.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", IDLE_S, 0))
                _Connection(self, accepted, peer).serve()
        except OSError as error:
            log.debug("connection from %s:%d ended: %s", *peer[:2], error)
        finally:
            del self._open[accepted]
            self._room.release()


class _Connection:
    """One connection; to waitress's tasks, the channel that they write to."""

    def __init__(self, server: HttpServer, accepted: socket.socket, peer: tuple[str, int]) -> None:
        self.server = server
        self.adj = server.adj
        self.addr = peer
        self._socket = accepted
        self._answer: list[bytes] = []

    def write_soon(self, data: bytes) -> int:
        """Called by the task with head and body; they leave together when the task is done."""
        self._answer.append(data)
        return len(data)

    def check_client_disconnected(self) -> bool:
        """A thread that waits for the driver does not look at its socket meanwhile."""
        return False

    def serve(self) -> None:
        """Serve request after request, also those sent ahead of answers. Raises OSError when the connection breaks."""
        request, data = HTTPRequestParser(self.adj), b""
        while not self.server.stopping:
            data = data or self._socket.recv(RECEIVE_BYTES)
            if not data:
                return
            data = data[request.received(data) :]
            if request.expect_continue and request.headers_finished and not request.error:
                request.expect_continue = request.completed = False
                self._socket.sendall(CONTINUE)
            if request.completed:
                if not request.empty and not self._answered(request):
                    return
                request = HTTPRequestParser(self.adj)

    def _answered(self, request: Any) -> bool:
        """Answer one request; returns whether the connection stays open."""
        task = (ErrorTask if request.error else WSGITask)(self, request)
        try:
            task.service()
        finally:
            request.close()
        self._socket.sendall(b"".join(self._answer))
        self._answer.clear()
        return not task.close_on_finish
