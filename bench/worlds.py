"""The worlds a scenario can be played in, as `bench.runner` sees them: a cluster to open, and evidence to take home."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.cluster import Cluster, Setup
from bench.evidence import Evidence, Record
from bench.live.cluster import LiveCluster
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants

C = TypeVar("C", bound=Cluster)


class World(Protocol[C]):
    @property
    def name(self) -> str:
        """As a scenario names it that cannot be played there."""
        ...

    def folder(self, scenario: str) -> str:
        """Where its runs of a scenario are kept, under the folder of all runs."""
        ...

    def cluster(self, folder: Path, *, nodes: int, profile: str, setup: Setup) -> AbstractContextManager[C]: ...

    def evidence(self, folder: Path, cluster: C) -> Evidence:
        """What the run left behind; it is also in `folder`, as `read_evidence` finds it."""
        ...


@dataclass(frozen=True)
class LiveWorld:
    """Real processes behind the real Toxiproxy."""

    server: Path
    """The Toxiproxy server."""
    name: str = "live"

    def folder(self, scenario: str) -> str:
        return scenario

    def cluster(self, folder: Path, *, nodes: int, profile: str, setup: Setup) -> LiveCluster:
        return LiveCluster(folder, nodes=nodes, profile=profile, setup=setup, server=self.server)

    def evidence(self, folder: Path, cluster: LiveCluster) -> Evidence:
        return read_evidence(folder, cluster)


@dataclass(frozen=True)
class SimulatedWorld:
    """Virtual time, from a seed; Raft's promises are checked after every event."""

    seed: int
    name: str = "simulated"

    def folder(self, scenario: str) -> str:
        return f"{scenario}/seed-{self.seed}"

    def cluster(self, folder: Path, *, nodes: int, profile: str, setup: Setup) -> SimulatedCluster:
        return SimulatedCluster(nodes=nodes, seed=self.seed, profile=profile, setup=setup, observer=Invariants())

    def evidence(self, folder: Path, cluster: SimulatedCluster) -> Evidence:
        evidence = cluster.evidence()
        for node, trace in evidence.traces.items():
            (folder / "nodes" / node).mkdir(parents=True)
            _write_lines(folder / "nodes" / node / "trace.jsonl", trace)
        _write_lines(folder / "events.jsonl", evidence.timeline)
        (folder / "cluster.log").write_text("".join(f"{line}\n" for line in cluster.world.chronicle.words()))
        (folder / "digest").write_text(f"{cluster.world.chronicle.digest()}\n")
        return evidence


def read_evidence(folder: Path, cluster: Cluster | None = None) -> Evidence:
    traces = {path.parent.name: _read_lines(path) for path in sorted(folder.glob("nodes/*/trace.jsonl"))}
    history = tuple(cluster.history) if cluster is not None else ()
    return Evidence(history, traces, _read_lines(folder / "events.jsonl"))


def _read_lines(path: Path) -> tuple[Record, ...]:
    """One record a line; a last line that a kill cut short is left out."""
    if not path.exists():
        return ()
    whole, _, _ = path.read_text().rpartition("\n")
    return tuple(json.loads(line) for line in whole.splitlines())


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
