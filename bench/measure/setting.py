"""What a measurement is given: where, how often, how long, and a cluster of its own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import store
from bench.case import plan
from bench.live.cluster import LiveCluster
from bench.manifest import RunKind
from bench.systems import find_system

T = TypeVar("T")

NODES = 3


@dataclass(frozen=True)
class Setting:
    folder: Path
    get_server: Callable[[], Path]
    """For the toxiproxy-server, which only a cluster needs."""
    profile: str
    count: int
    """How many values to take, where that is not decided by `seconds`."""
    seconds: float
    on_progress: Callable[[float, float], None]
    """Called with how much is done, and of how much."""

    @contextlib.contextmanager
    def cluster(self) -> Iterator[LiveCluster]:
        """Three nodes on empty data; a leader is yet to be elected."""
        planned = plan(NODES, profile=self.profile)
        begun = store.begin(
            self.folder, kind=RunKind.MEASURE, name="measured", world="live", plan=planned, profile=self.profile
        )
        system = find_system(planned.system)
        with begun as recording:
            with LiveCluster(planned, recording, system=system, server=self.get_server()) as cluster:
                yield cluster
            recording.finish(store.Findings())

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        """The first `count` of them; reports the progress."""
        self.on_progress(0, self.count)
        for done, item in enumerate(itertools.islice(items, self.count), 1):
            yield item
            self.on_progress(done, self.count)
