"""Clients in the background: each asks what its script says next, and looks for the leader when it is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from bench.systems.konsul import KonsulClient
from bench.workload import PAUSE_S, Session, distinct_writes


class Writers:
    """`clients` threads, from `start` to `stop`. Keys are never written twice."""

    def __init__(
        self, clients: int, nodes: Sequence[str], new_client: Callable[[str], KonsulClient], series: int
    ) -> None:
        self._nodes = list(nodes)
        self._new_client = new_client
        self._sessions = [Session(distinct_writes(series, turn), nodes, turn) for turn in range(clients)]
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(session,), name=f"writer-{turn}", daemon=True)
            for turn, session in enumerate(self._sessions)
        ]

    def acknowledged(self) -> int:
        return sum(session.acknowledged for session in self._sessions)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after each writer's write under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self, session: Session) -> None:
        clients = {node: self._new_client(node) for node in self._nodes}
        while not self._stopping.wait(PAUSE_S):
            session.told(clients[session.node].ask(session.invocation))
