"""Connections between nodes that go past the link that they should go over: no fault on the link concerns them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable
from typing import NamedTuple

import psutil

from faults.links import CLIENT, Address, Link, Route


class Bypass(NamedTuple):
    """One connection from the link's source to its target, by its two ends."""

    link: Link
    near: Address
    far: Address

    def __str__(self) -> str:
        return f"{self.near} to {self.far}"


Ends = tuple[Address, Address]
"""Of a connection, the near one first."""


def bypasses(node: str, connections: Iterable[Ends], routes: Collection[Route]) -> list[Bypass]:
    """Those of the node's connections that lead to another node and not over the node's link to it: to the other's own
    port, under whatever address, or to a link that is not the node's. A port has one owner on this machine."""
    between = [route for route in routes if route.link.source != CLIENT and route.link.target != node]
    past = {route.upstream.port: route.link.target for route in between}
    past |= {route.listen.port: route.link.target for route in between if route.link.source != node}
    return [Bypass(Link(node, past[far.port]), near, far) for near, far in connections if far.port in past]


class Bypasses:
    """Which of `routes` were gone past, as far as anybody has looked. Safe to use from several threads."""

    def __init__(self, routes: Collection[Route]) -> None:
        self._routes = routes
        self._seen: set[Bypass] = set()
        self._lock = threading.Lock()

    @property
    def links(self) -> frozenset[Link]:
        with self._lock:
            return frozenset(bypass.link for bypass in self._seen)

    def look(self, node: str, pid: int) -> list[Bypass]:
        """Those connections of the node's process that were not there when somebody looked before."""
        found = bypasses(node, connections_of(pid), self._routes)
        with self._lock:
            new = [bypass for bypass in found if bypass not in self._seen]
            self._seen.update(new)
        return new


def connections_of(pid: int) -> list[Ends]:
    """All that the process has open; none once it is gone."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid).net_connections("tcp")
        return [(Address(*each.laddr), Address(*each.raddr)) for each in found if each.laddr and each.raddr]
    return []
