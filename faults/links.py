"""Directed links, their addresses, and what can be wrong with a link."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

CLIENT = "client"
"""The name of what is at the other end of a node's client link."""


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
    """Where a link takes its traffic in, and where it passes the traffic on to."""

    link: Link
    listen: Address
    upstream: Address


class Mode(StrEnum):
    """How a cut link treats its traffic."""

    BLACKHOLE = "blackhole"
    """Traffic is taken in and dropped; the sender sees nothing wrong. Healing closes the link's connections."""
    REFUSE = "refuse"
    """Connections are closed and new ones refused."""
    HOLD = "hold"
    """Traffic is held back, and delivered after healing: late, not lost."""


STRICTER = (None, Mode.HOLD, Mode.BLACKHOLE, Mode.REFUSE)
"""Each lets less through than the one before: what is held arrives in the end, what is refused does not even leave."""


class Kind(StrEnum):
    """The kinds of faults on links."""

    CUT = "cut"
    DELAY = "delay"
    LIMIT = "limit"
    NOISE = "noise"


KEPT = "keep"
"""The event of links that stay faulty although the blocks of their faults are over, since an error ended those."""
RESTARTED = "toxiproxy_restarted"
"""What is told of links that nobody asked to be touched: their proxies did not answer and were started again, so that
every connection broke."""

BYPASS = "bypass"
"""What is told of a link when somebody was seen to go past it, which no fault on it can hinder."""


@dataclass(frozen=True)
class LinkState:
    """What one fault does to a link, or what several do together. Raises ValueError for what no fault can do."""

    cut: Mode | None = None
    latency_ms: int = 0
    jitter_ms: int = 0
    rate_kib_s: int | None = None
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """Probabilities, for each message. A TCP proxy does not know messages, so noise exists in virtual time only."""

    def __post_init__(self) -> None:
        if self.latency_ms < 0 or self.jitter_ms < 0:
            raise ValueError("a delay cannot be negative")
        if self.rate_kib_s is not None and self.rate_kib_s < 1:
            raise ValueError("a bandwidth is at least 1 KiB/s; to hold everything back, cut with mode hold")
        for probability in (self.loss, self.duplication, self.reordering):
            if not 0 <= probability <= 1:
                raise ValueError(f"{probability} is no probability; it is between 0 and 1")

    def __add__(self, other: LinkState) -> LinkState:
        """Both at once, as if one stood behind the other on the link: the stricter cut, the narrower limit, the sums of
        latencies and of jitters. A message meets each noise by itself."""
        rates = [rate for rate in (self.rate_kib_s, other.rate_kib_s) if rate is not None]
        return LinkState(
            cut=max(self.cut, other.cut, key=STRICTER.index),
            latency_ms=self.latency_ms + other.latency_ms,
            jitter_ms=self.jitter_ms + other.jitter_ms,
            rate_kib_s=min(rates, default=None),
            loss=_either(self.loss, other.loss),
            duplication=_either(self.duplication, other.duplication),
            reordering=_either(self.reordering, other.reordering),
        )

    @property
    def noisy(self) -> bool:
        return bool(self.loss or self.duplication or self.reordering)

    def __str__(self) -> str:
        parts = [f"cut ({self.cut})"] if self.cut else []
        if self.latency_ms or self.jitter_ms:
            parts.append(f"{self.latency_ms}ms" + (f"±{self.jitter_ms}ms" if self.jitter_ms else ""))
        if self.rate_kib_s is not None:
            parts.append(f"{self.rate_kib_s} KiB/s")
        if self.noisy:
            parts.append(f"loss {self.loss:g} duplication {self.duplication:g} reordering {self.reordering:g}")
        return ", ".join(parts) or "up"

    @staticmethod
    def latest_s(told: str) -> float:
        """By how many seconds a message is late at most, of a state as `__str__` tells it."""
        return sum(int(ms) for ms in re.findall(r"(\d+)ms", told)) / 1000


def _either(one: float, other: float) -> float:
    """The probability that at least one of two happens, when neither depends on the other."""
    return one + other - one * other


UP = LinkState()
"""A link without faults."""


def peer_links(nodes: Iterable[str]) -> tuple[Link, ...]:
    """A link for every ordered pair of nodes."""
    return tuple(itertools.starmap(Link, itertools.permutations(nodes, 2)))


def client_links(nodes: Iterable[str]) -> tuple[Link, ...]:
    return tuple(Link(CLIENT, node) for node in nodes)
