"""Clients in the background: each writes one key after the other, and looks for the leader when it is refused."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

from bench.history import Outcome
from bench.systems.konsul import KonsulClient

PAUSE_S = 0.005


class Writers:
    """`clients` threads, from `start` to `stop`. Keys are never written twice."""

    def __init__(
        self, clients: int, nodes: Sequence[str], new_client: Callable[[str], KonsulClient], series: int
    ) -> None:
        self._nodes = list(nodes)
        self._new_client = new_client
        self._series = series
        self._acknowledged = [0] * clients
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number,), name=f"writer-{number}", daemon=True)
            for number in range(clients)
        ]

    def acknowledged(self) -> int:
        return sum(self._acknowledged)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after each writer's write under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        clients = {node: self._new_client(node) for node in self._nodes}
        round_robin = itertools.cycle(
            self._nodes[number % len(self._nodes) :] + self._nodes[: number % len(self._nodes)]
        )
        node = next(round_robin)
        for count in itertools.count():
            if self._stopping.wait(PAUSE_S):
                return
            write = clients[node].put(f"w{self._series}-{number}-{count}", f"{number}-{count}")
            if write.outcome is Outcome.OK:
                self._acknowledged[number] += 1
            else:
                node = next(round_robin)
