"""Live clusters, each a run of its own in a folder that is gone after the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import store
from bench.case import Plan
from bench.live.cluster import LiveCluster
from bench.manifest import RunKind
from bench.systems import find_system


@contextmanager
def unopened(planned: Plan, folder: Path, toxiproxy: Path) -> Iterator[LiveCluster]:
    """Nothing of it is started yet."""
    with store.begin(folder, kind=RunKind.UP, name="test", world="live", plan=planned) as recording:
        yield LiveCluster(planned, recording, system=find_system(planned.system), server=toxiproxy)
