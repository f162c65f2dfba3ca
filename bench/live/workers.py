"""Clients in the background: each asks what its script says next, and goes elsewhere when it is not served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from bench.cluster import Client
from bench.workload import PAUSE_S, Script, Session


class Workers:
    """One thread for each script, from `start` to `stop`."""

    def __init__(self, scripts: Sequence[Script], nodes: Sequence[str], new_client: Callable[[str], Client]) -> None:
        self._nodes = list(nodes)
        self._new_client = new_client
        self._sessions = [Session(script, nodes, turn) for turn, script in enumerate(scripts)]
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(session,), name=f"worker-{turn}", daemon=True)
            for turn, session in enumerate(self._sessions)
        ]

    def acknowledged(self) -> int:
        return sum(session.acknowledged for session in self._sessions)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends when each has the answer to what it asked last."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self, session: Session) -> None:
        clients = {node: self._new_client(node) for node in self._nodes}
        while not self._stopping.wait(PAUSE_S):
            session.told(clients[session.node].ask(session.invocation))
