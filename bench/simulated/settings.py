"""What a world is made of besides its seed, in the node's own terms."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.case import Settings
from bench.simulated.network import Bounds
from node.flaws import load
from node.raft import FlowLimits, Raft, Timing
from node.server import SnapshotPolicy


@dataclass(frozen=True)
class WorldSettings:
    timing: Timing = field(default_factory=Timing)
    limits: FlowLimits = field(default_factory=FlowLimits)
    core: type[Raft] = Raft
    """The nodes' core, or one with a flaw."""
    clock_rates: tuple[float, float] = (0.98, 1.02)
    """The range of the nodes' clock rates."""
    snapshots: SnapshotPolicy = field(default_factory=lambda: SnapshotPolicy(trailing_logs=1024))
    bounds: Bounds = field(default_factory=Bounds)
    """How much a link between nodes takes on."""
    client_timeout_s: float = 8.0
    """How long a client waits for an answer."""


def world_settings(settings: Settings, core: type[Raft]) -> WorldSettings:
    """What `settings` say, for nodes with this core."""
    return WorldSettings(
        timing=Timing(
            settings.heartbeat_timeout_s,
            settings.election_timeout_s,
            settings.leader_lease_timeout_s,
            settings.commit_timeout_s,
        ),
        limits=FlowLimits(
            entries_per_message=settings.entries_per_message,
            bytes_per_message=settings.bytes_per_message,
            entries_in_flight=settings.entries_in_flight,
            bytes_in_flight=settings.bytes_in_flight,
            entries_applied_at_once=settings.entries_applied_at_once,
            snapshot_chunk_bytes=settings.snapshot_chunk_bytes,
            snapshot_bytes_in_flight=settings.snapshot_bytes_in_flight,
        ),
        core=core,
        clock_rates=(1 - settings.clock_spread, 1 + settings.clock_spread),
        snapshots=SnapshotPolicy(
            interval_s=settings.snapshot_interval_s,
            threshold=settings.snapshot_threshold,
            trailing_logs=settings.trailing_logs,
        ),
        bounds=Bounds(settings.unanswered_bytes, settings.waiting_messages),
        client_timeout_s=settings.client_timeout_s,
    )


def core_of(flaw: str | None) -> type[Raft]:
    """The core, with the rule broken that a case names. Raises LookupError for an unknown name."""
    return Raft if flaw is None else load(flaw)
