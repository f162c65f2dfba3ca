"""Verdicts: VALID, INVALID, or UNKNOWN, which is an answer too. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    VALID = "VALID"
    INVALID = "INVALID"
    UNKNOWN = "UNKNOWN"

    @property
    def exit_status(self) -> int:
        return {Verdict.VALID: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 2}[self]


@dataclass(frozen=True)
class Finding:
    """What one check came to, with the evidence in words."""

    check: str
    verdict: Verdict
    reason: str


def combined(findings: Iterable[Finding]) -> Verdict:
    """INVALID if any is, else UNKNOWN if any is; a run that nothing was checked of is UNKNOWN."""
    verdicts = {finding.verdict for finding in findings}
    for worst in (Verdict.INVALID, Verdict.UNKNOWN, Verdict.VALID):
        if worst in verdicts:
            return worst
    return Verdict.UNKNOWN
