"""Verdicts: VALID, INVALID or UNKNOWN, which is an answer too; SKIPPED means that nothing was tried. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from bench.evidence import Evidence


class Verdict(StrEnum):
    """The worst first."""

    INVALID = "INVALID"
    UNKNOWN = "UNKNOWN"
    VALID = "VALID"
    SKIPPED = "SKIPPED"
    """It cannot be played in this world; the reason is known beforehand, so this is no failure."""

    @property
    def exit_status(self) -> int:
        return {Verdict.INVALID: 1, Verdict.UNKNOWN: 2}.get(self, 0)


class Witness(StrEnum):
    """What a finding rests on. From inside our own rules are seen broken, so that convicts our own flaws easily; from
    outside any system can be judged."""

    CORE = "inside, by an invariant of the core"
    TRACES = "inside, by what nodes traced"
    STATUSES = "outside, by what nodes say of themselves"
    CLIENTS = "outside, by what clients were told"


@dataclass(frozen=True)
class Finding:
    """What one check found, with the evidence in words."""

    check: str
    verdict: Verdict
    reason: str
    """In one line."""
    at_s: float | None = None
    """When the promise was seen to be broken."""
    details: tuple[str, ...] = ()
    """What shows it, a line each: the author's code with its values, what each node said, or the operations and records
    that contradict one another."""
    witness: Witness | None = field(default=None, compare=False)
    """None for what an author's own story or check says."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of these. Without any, nothing was checked, which is UNKNOWN."""
    found = set(verdicts)
    return next((verdict for verdict in Verdict if verdict in found), Verdict.UNKNOWN)


Check = Callable[[Evidence], Finding]
"""A function that judges evidence; `bench.checkers` has ours."""


def combined(findings: Iterable[Finding]) -> Verdict:
    """The verdict of all these together."""
    return worst(finding.verdict for finding in findings)
