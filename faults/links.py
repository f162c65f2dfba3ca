"""Directed links, and the addresses they live on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

CLIENT = "client"
"""Who is at the other end of a node's client link."""


class Address(NamedTuple):
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From host:port. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is no address; an address is host:port, such as 127.0.0.1:7001")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, order=True)
class Link:
    """What `source` sends to `target`. The other direction is another link."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"


@dataclass(frozen=True)
class Route:
    """Where a link's traffic is taken in, and where it is passed on to."""

    link: Link
    listen: Address
    upstream: Address


def peer_links(nodes: Iterable[str]) -> tuple[Link, ...]:
    """Every ordered pair."""
    return tuple(itertools.starmap(Link, itertools.permutations(nodes, 2)))


def client_links(nodes: Iterable[str]) -> tuple[Link, ...]:
    return tuple(Link(CLIENT, node) for node in nodes)
