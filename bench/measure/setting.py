"""What a measurement is given: where, how often, how long, and a cluster of its own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.live.cluster import LiveCluster
from faults.links import Address

T = TypeVar("T")

NODES = 3


@dataclass(frozen=True)
class Setting:
    folder: Path
    server: Path
    """The toxiproxy-server."""
    profile: str
    count: int
    """How many values to take, where that is not decided by `seconds`."""
    seconds: float
    on_progress: Callable[[float, float], None]
    """Told how much of how much is done."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def cluster(self) -> Iterator[LiveCluster]:
        """Three nodes on empty data; a leader is yet to be elected."""
        with LiveCluster(
            self.folder / f"cluster-{next(self._numbers)}", nodes=NODES, profile=self.profile, server=self.server
        ) as cluster:
            yield cluster

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        """The first `count` of them, telling of the progress."""
        self.on_progress(0, self.count)
        for done, item in enumerate(itertools.islice(items, self.count), 1):
            yield item
            self.on_progress(done, self.count)


def address_of(cluster: LiveCluster, node: str) -> Address:
    """Where a client reaches the node: its client link."""
    host, _, port = cluster.http_url(node).removeprefix("http://").rpartition(":")
    return Address(host, int(port))
