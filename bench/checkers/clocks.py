"""Whether clocks ran about alike, on which every promise rests that a lease keeps.

A leader counts its lease by its own clock, and a voter its patience by its own. The lease is over first as long as no
clock runs so much faster than another as the patience (the heartbeat timeout) is longer than the lease.
"""

from __future__ import annotations

from collections.abc import Collection

from bench.calls import FRESH
from bench.case import Settings
from bench.evidence import Evidence
from bench.operations import Freshness


def alike(rates: Collection[float], settings: Settings) -> bool:
    """Whether leases end in time by clocks that run at these rates."""
    return max(rates) * settings.leader_lease_timeout_s <= min(rates) * settings.heartbeat_timeout_s


def unlike(evidence: Evidence) -> str:
    """Which clock was the first to run so that leases end too late, and when; empty if none did."""
    settings = evidence.settings
    usual = (1 - settings.clock_spread, 1 + settings.clock_spread)
    rates: dict[str, float] = {}
    for record in evidence.timeline:
        if record["event"] == "clock_rate":
            rates[record["node"]] = record["rate"]
            if not alike((*usual, *rates.values()), settings):
                return f"from {record['at_s']:.4f} the clock of {record['node']} ran at {record['rate']:g} of its rate"
    return ""


def fresh_reads(evidence: Evidence) -> tuple[Freshness, ...]:
    """Which reads see whatever was acknowledged before they were asked for."""
    return (Freshness.LINEARIZABLE,) if unlike(evidence) else FRESH
