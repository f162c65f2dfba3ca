"""Whether every node kept what it had saved, on which Raft rests (Figure 2, persistent state).

A node that comes back with less than it had saved may vote twice in a term, and entries that it had acknowledged are on
fewer disks than was counted. What looks like a broken promise after that is none of the nodes' fault.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from bench.evidence import Evidence, Record
from bench.verdict import Finding, Verdict

DOWN = ("kill", "died", "shut_down")
"""The events of the timeline after which a node is down."""


class Loss(NamedTuple):
    """A node came back with less than it had saved."""

    node: str
    at_s: float
    down_s: float
    """Since when it had been down."""
    how: str

    def __str__(self) -> str:
        return f"at {self.at_s:.4f} {self.node} came back {self.how}"


def losses(evidence: Evidence) -> Iterator[Loss]:
    """Each time that a node came back with less than it had saved, in order."""
    down_s: dict[str, float] = {}
    for record in evidence.timeline:
        if record["event"] in DOWN:
            down_s[record["node"]] = record["at_s"]
        elif record["event"] == "restart" and (how := _how(record)):
            since_s = down_s.setdefault(record["node"], record["at_s"])
            yield Loss(record["node"], record["at_s"], since_s, how)


def forgotten(evidence: Evidence) -> str:
    """Which node was the first to come back with less than it had saved, when and how; empty if none was."""
    return str(next(losses(evidence), ""))


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
