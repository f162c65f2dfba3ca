"""How much went the way of each link, over all incarnations of the nodes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from faults.links import CLIENT, Address, Link


class Traffic:
    """Messages that went to each link's listener since the cluster began. `read_node` gives one incarnation's count for
    each address that it dialled; `listens` says which of these is which link. What went anywhere else, be it to the
    same peer, did not go over the link.

    A count ends with its process, so it is read before a node is killed, and before it is paused and falls silent. When
    a node dies by itself, what it had sent since the last reading is lost: a count may be too low, never too high.
    Client links are not counted here, because the history has their operations.
    """

    def __init__(
        self, read_node: Callable[[str], Mapping[Address, int] | None], listens: Mapping[Link, Address]
    ) -> None:
        self._read_node = read_node
        self._listens = listens
        self._former: Counter[tuple[str, Address]] = Counter()
        self._running: dict[str, Mapping[Address, int]] = {}
        self._lock = threading.Lock()

    def on(self, links: Collection[Link]) -> Mapping[Link, int]:
        for node in {link.source for link in links} - {CLIENT}:
            self.read(node)
        with self._lock:
            return {link: self._on(link.source, self._listens[link]) for link in links if link.source != CLIENT}

    def _on(self, source: str, listener: Address) -> int:
        return self._former[source, listener] + self._running.get(source, {}).get(listener, 0)

    def read(self, node: str) -> None:
        """Ask the node now; keep its last counts if it does not answer."""
        counts = self._read_node(node)
        if counts is not None:
            with self._lock:
                self._running[node] = counts

    def ends(self, node: str) -> None:
        """Call this just before the node's process is killed."""
        self.read(node)
        with self._lock:
            for address, count in self._running.pop(node, {}).items():
                self._former[node, address] += count
