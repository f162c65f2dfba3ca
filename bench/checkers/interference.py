"""Whether the bench itself did something to the cluster that nobody had asked for."""

from __future__ import annotations

from bench.checkers.faults import gone_past
from bench.evidence import Evidence
from bench.verdict import Finding, Verdict
from faults.links import RESTARTED

CHECK = "the_bench_did_not_interfere"


def the_bench_did_not_interfere(evidence: Evidence) -> Finding:
    """UNKNOWN where it did: whatever the cluster did not do in time after that, the bench may have been the cause."""
    for record in evidence.timeline:
        if record["event"] == RESTARTED:
            what = f"at {record['at_s']:.4f} the bench had to start Toxiproxy again ({record['detail']})"
            reason = f"{what}: every connection broke, and a leader may have fallen"
            return Finding(CHECK, Verdict.UNKNOWN, reason)
    return Finding(CHECK, Verdict.VALID, "nothing was done to the cluster but what was asked for")


def in_the_way(evidence: Evidence) -> str | None:
    """Why what did not come about in time is not held against the nodes, if so: the bench itself got in their way, or
    their links were faulty and gone past."""
    interference = the_bench_did_not_interfere(evidence)
    return interference.reason if interference.verdict is not Verdict.VALID else gone_past(evidence)
