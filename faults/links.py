"""Directed links, the addresses they live on, and what can be wrong with one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
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


class Mode(StrEnum):
    """How a cut link treats its traffic."""

    BLACKHOLE = "blackhole"
    """Taken in and dropped; the sender sees nothing wrong. Healing closes its connections."""
    REFUSE = "refuse"
    """Connections are closed and new ones refused."""
    HOLD = "hold"
    """Held back, and delivered when healed: what arrives is late, not lost."""


@dataclass(frozen=True)
class LinkState:
    cut: Mode | None = None
    latency_ms: int = 0
    jitter_ms: int = 0
    rate_kib_s: int | None = None

    def __str__(self) -> str:
        parts = [f"cut ({self.cut})"] if self.cut else []
        if self.latency_ms or self.jitter_ms:
            parts.append(f"{self.latency_ms}ms" + (f"±{self.jitter_ms}ms" if self.jitter_ms else ""))
        if self.rate_kib_s is not None:
            parts.append(f"{self.rate_kib_s} KiB/s")
        return ", ".join(parts) or "up"


def peer_links(nodes: Iterable[str]) -> tuple[Link, ...]:
    """Every ordered pair."""
    return tuple(itertools.starmap(Link, itertools.permutations(nodes, 2)))


def client_links(nodes: Iterable[str]) -> tuple[Link, ...]:
    return tuple(Link(CLIENT, node) for node in nodes)
