"""How much the nodes tried to send, over all their incarnations."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from faults.links import CLIENT, Link


class Traffic:
    """Messages meant for each link since the cluster began. `read_node` gives one incarnation's count for each peer.

    A count ends with its process, so it is read before a node is killed, and before it is paused, when it falls silent.
    One that dies by itself takes along what it had sent since it was last asked: what is told is never too much.
    Clients' links are not counted here, because the history has their operations.
    """

    def __init__(self, read_node: Callable[[str], Mapping[str, int] | None]) -> None:
        self._read_node = read_node
        self._former: Counter[Link] = Counter()
        self._running: dict[str, Mapping[str, int]] = {}
        self._lock = threading.Lock()

    def on(self, links: Collection[Link]) -> Mapping[Link, int]:
        for node in {link.source for link in links} - {CLIENT}:
            self.read(node)
        with self._lock:
            return {
                link: self._former[link] + self._running.get(link.source, {}).get(link.target, 0)
                for link in links
                if link.source != CLIENT
            }

    def read(self, node: str) -> None:
        """Ask the node now; keeps what it said last when it does not answer."""
        counts = self._read_node(node)
        if counts is not None:
            with self._lock:
                self._running[node] = counts

    def ends(self, node: str) -> None:
        """To be called just before the node's process is killed."""
        self.read(node)
        with self._lock:
            for peer, count in self._running.pop(node, {}).items():
                self._former[Link(node, peer)] += count
