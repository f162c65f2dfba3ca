"""Verdicts: VALID, INVALID, or UNKNOWN, which is an answer too; SKIPPED is what nobody tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    VALID = "VALID"
    INVALID = "INVALID"
    UNKNOWN = "UNKNOWN"
    SKIPPED = "SKIPPED"
    """It cannot be played in this world; the reason is known beforehand, so it is no failure."""

    @property
    def exit_status(self) -> int:
        return {Verdict.INVALID: 1, Verdict.UNKNOWN: 2}.get(self, 0)


@dataclass(frozen=True)
class Finding:
    """What one check came to, with the evidence in words."""

    check: str
    verdict: Verdict
    reason: str


def combined(findings: Iterable[Finding]) -> Verdict:
    """INVALID if any is, else UNKNOWN if any is; a run that nothing was checked of is UNKNOWN."""
    verdicts = {finding.verdict for finding in findings}
    for worst in (Verdict.INVALID, Verdict.UNKNOWN, Verdict.VALID, Verdict.SKIPPED):
        if worst in verdicts:
            return worst
    return Verdict.UNKNOWN
