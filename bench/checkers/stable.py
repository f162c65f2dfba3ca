"""Whether every node kept what it had saved, on which Raft rests (Figure 2, persistent state).

A node that comes back with less than it had saved may vote twice in a term, and entries that it had acknowledged are on
fewer disks than was counted. What looks like a broken promise after that is none of the nodes' fault.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from bench.evidence import Evidence, Record
from bench.verdict import Finding, Verdict


def forgotten(evidence: Evidence) -> str:
    """Which node was the first to come back with less than it had saved, when and how; empty if none was."""
    for record in evidence.timeline:
        how = _how(record) if record["event"] == "restart" else ""
        if how:
            return f"at {record['at_s']:.4f} {record['node']} came back {how}"
    return ""


def _how(record: Record) -> str:
    if record.get("wipe"):
        return "with an empty disk"
    if record.get("older"):
        return "with an older copy of its disk"
    return f"without its {record['without']}" if record.get("without") else ""


def excused(finding: Finding, evidence: Evidence) -> Finding:
    """The finding; UNKNOWN where it says that a promise was broken after a node had forgotten what it had saved."""
    lost = forgotten(evidence) if finding.verdict is Verdict.INVALID else ""
    if not lost:
        return finding
    reason = f"{finding.reason}; but {lost}, and this rests on stable storage"
    return replace(finding, verdict=Verdict.UNKNOWN, reason=reason)


def rests_on_stable_storage(check: Callable[[Evidence], Finding]) -> Callable[[Evidence], Finding]:
    """The same check, which convicts nobody of what a disk has forgotten."""

    @functools.wraps(check)
    def judged(evidence: Evidence) -> Finding:
        return excused(check(evidence), evidence)

    return judged
