"""Clients' connections: each client has one to each node that it talks to."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bench.cluster import CannotError
from bench.operations import Question, Told
from bench.systems.protocol import Connection

MOST_KEPT = 128
"""How many idle connections are kept. A scenario may make a client for every question, and a node accepts only so many
connections."""


class Connections:
    """`connect` opens a connection to a node. Any thread may ask, as long as each client asks one thing at a time."""

    def __init__(self, connect: Callable[[str], Connection]) -> None:
        self._connect = connect
        self._idle: dict[tuple[int, str], Connection] = {}
        """The last one was used last."""
        self._closed = False
        self._lock = threading.Lock()

    def ask(self, client: int, node: str, asked: Question) -> Told:
        with self._lock:
            connection = self._idle.pop((client, node), None)
        connection = connection or self._connect(node)
        try:
            return connection.ask(asked)
        finally:
            self._keep(client, node, connection)

    def check_open(self) -> None:
        """Raises CannotError once they are closed."""
        if self._closed:
            raise CannotError("the cluster has been stopped, and can be asked nothing any more")

    def close(self) -> None:
        """Close all connections: those in use once their answer is there."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connection in idle.values():
            connection.close()

    def _keep(self, client: int, node: str, connection: Connection) -> None:
        over = []
        with self._lock:
            if self._closed:
                over.append(connection)
            else:
                self._idle[client, node] = connection
                over += [self._idle.pop(next(iter(self._idle))) for _ in range(len(self._idle) - MOST_KEPT)]
        for each in over:
            each.close()
