"""The worlds that a run can be played in, as `bench.runner` sees them: a cluster, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.case import Plan
from bench.cluster import Cluster
from bench.live.cluster import LiveCluster
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants
from bench.simulated.observer import Observer
from bench.store import Recording
from bench.systems import find_system

C = TypeVar("C", bound=Cluster)


class World(Protocol[C]):
    @property
    def name(self) -> str: ...

    def cluster(self, plan: Plan, recording: Recording) -> C:
        """A cluster with nothing started yet. History and timeline are recorded as they happen."""
        ...

    def collect(self, cluster: C, recording: Recording) -> str | None:
        """Write into the recording what the cluster has not written there itself; returns the digest of everything that
        happened, if there is one."""
        ...


@dataclass(frozen=True)
class LiveWorld:
    """Real processes behind the real Toxiproxy; they write their traces and logs themselves."""

    server: Path
    """The Toxiproxy server."""
    name: str = "live"
    keeps: bool = False
    """Whether faults outlast the blocks that an error ends, so that somebody can look at what came of them."""

    def cluster(self, plan: Plan, recording: Recording) -> LiveCluster:
        made = LiveCluster(plan, recording, system=find_system(plan.system), server=self.server)
        made.still.wanted = self.keeps
        return made

    def collect(self, cluster: LiveCluster, recording: Recording) -> str | None:
        return None


@dataclass(frozen=True)
class SimulatedWorld:
    """Virtual time, from the plan's seed."""

    name: str = "simulated"
    watched_by: Callable[[], Observer] = Invariants
    """What checks promises after every event: `Observer` checks none."""

    def cluster(self, plan: Plan, recording: Recording) -> SimulatedCluster:
        return SimulatedCluster(plan, recording, observer=self.watched_by())

    def collect(self, cluster: SimulatedCluster, recording: Recording) -> str | None:
        for node, trace in cluster.evidence().traces.items():
            recording.trace(node, trace)
        recording.write_log(cluster.world.chronicle.words())
        return cluster.world.chronicle.digest()
