"""What a world is made of besides its seed."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.simulated.network import Bounds
from node.raft import FlowLimits, Raft, Timing
from node.server import SnapshotPolicy


@dataclass(frozen=True)
class Settings:
    timing: Timing = field(default_factory=Timing)
    limits: FlowLimits = field(default_factory=FlowLimits)
    core: type[Raft] = Raft
    """The nodes' core, or one with a flaw."""
    clock_rates: tuple[float, float] = (0.98, 1.02)
    """Between which the nodes' clocks run."""
    snapshots: SnapshotPolicy = field(default_factory=lambda: SnapshotPolicy(trailing_logs=1024))
    bounds: Bounds = field(default_factory=Bounds)
    """How much a link between nodes takes on."""
    client_timeout_s: float = 8.0
    """So long a client waits for an answer."""
