"""Liveness, only while it is owed: a majority that is well has a leader in time, and clients who ask it are served.

What is owed, and to whom, is told by `majorities`. Amid faults, elections may fail and questions be lost; so nothing is
demanded of a majority that has not been well for `PATIENCE`, and nothing of one question. A client that asks who does
not lead is only redirected, so what counts is what was asked of a node while it led.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.case import Settings
from bench.checkers.elections import Reign, reigns, said_reigns
from bench.checkers.interference import in_the_way
from bench.checkers.majorities import Majority, majorities
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import Evidence
from bench.operations import Freshness, Get, Operation, Outcome, Writing
from bench.timeline import line
from bench.verdict import Finding, Verdict
from bench.words import counted

CHECK = "served_while_a_majority_is_well"
PATIENCE = 10
"""Election timeouts within which a majority that is well has a leader, and a client that asks it an answer."""
LEAST_S = 5.0
"""However short the timeouts are: so long a busy machine or a real disk may hold everything up."""
SEVERAL = 3
"""So many questions have to be in vain."""
SHOWN = 5
"""So many of them are told."""


@rests_on_stable_storage
def served_while_a_majority_is_well(evidence: Evidence) -> Finding:
    """While a majority of the members was well for so long that it was owed, there was a leader, and whoever asked the
    leader for writes, or for reads that have to be fresh, had an answer to one of them."""
    patience_s = patience_of(evidence.settings)
    owed = [majority for majority in majorities(evidence) if majority.lasted_s > patience_s]
    if not owed:
        return Finding(CHECK, Verdict.VALID, f"nothing was owed: no majority was well for more than {patience_s:g} s")
    led = sorted(reign for reign in reigns(evidence) if reign.since_s < reign.until_s) or sorted(
        said_reigns(evidence.timeline)
    )
    asked = [_asked(kind, evidence.history, led) for kind in KINDS]
    for majority in owed:
        if found := _without_leader(majority, led, patience_s):
            return _excused(found, in_the_way(evidence))
        if found := _unserved(majority, asked, patience_s):
            return _excused(found, in_the_way(evidence) or _impatience(evidence.settings))
    lasted_s = sum(majority.lasted_s for majority in owed)
    reason = f"a majority was well for {lasted_s:.1f} s, and nobody waited {patience_s:g} s for what was owed"
    return Finding(CHECK, Verdict.VALID, reason)


def patience_of(settings: Settings) -> float:
    """How long anybody waits for what is owed, in seconds."""
    return max(PATIENCE * settings.election_timeout_s, LEAST_S)


def _excused(found: Finding, excuse: str | None) -> Finding:
    if excuse is None:
        return found
    return replace(found, verdict=Verdict.UNKNOWN, reason=f"{found.reason}; but {excuse}")


def _impatience(settings: Settings) -> str | None:
    """Clients that do not wait long would call a busy machine's answers none."""
    if settings.client_timeout_s >= settings.election_timeout_s:
        return None
    return f"clients waited no longer than {settings.client_timeout_s:g} s for an answer"


def _without_leader(majority: Majority, led: Iterable[Reign], patience_s: float) -> Finding | None:
    """Any leader will do: a leader that is none of them has its lease from a majority too."""
    since_s = majority.since_s
    for reign in (*led, None):
        until_s = majority.until_s if reign is None else min(reign.since_s, majority.until_s)
        if until_s - since_s > patience_s:
            reason = (
                f"{_well(majority)} since {majority.since_s:.4f}, and nobody led from {since_s:.4f} to {until_s:.4f}"
            )
            return Finding(CHECK, Verdict.INVALID, reason, since_s + patience_s)
        since_s = since_s if reign is None else max(since_s, reign.until_s)
    return None


def _well(majority: Majority) -> str:
    return f"{', '.join(sorted(majority.nodes))} were up and heard one another"


class Kind(NamedTuple):
    """Of questions of which clients are owed an answer to one."""

    name: str
    is_one: Callable[[Operation], bool]


KINDS = (
    Kind("write", lambda operation: isinstance(operation.asked, Writing)),
    Kind(
        "fresh read",
        lambda operation: isinstance(operation.asked, Get) and operation.asked.freshness is not Freshness.STALE,
    ),
)


class Vain(NamedTuple):
    """A question that was put to a node while it led, and was not answered."""

    at_s: float
    node: str
    operation: Operation


class Asked(NamedTuple):
    """All that was asked of one kind."""

    kind: Kind
    answered_s: list[float]
    """When there were answers, in order."""
    vain: list[Vain]
    """In order too."""


def _asked(kind: Kind, history: Iterable[Operation], led: Sequence[Reign]) -> Asked:
    operations = [operation for operation in history if kind.is_one(operation)]
    answered_s = sorted(operation.completed_s for operation in operations if operation.decided)
    vain = itertools.chain.from_iterable(_in_vain(operation, led) for operation in operations)
    return Asked(kind, answered_s, sorted(vain, key=lambda question: question.at_s))


def _in_vain(operation: Operation, led: Sequence[Reign]) -> Iterator[Vain]:
    """A plain refusal may be the question's own fault; it is not in vain unless it is tried again."""
    if operation.decided or (operation.outcome is Outcome.FAILED and not operation.tries):
        return
    for node, at_s in operation.questions:
        if any(reign.node == node and reign.since_s <= at_s < reign.until_s for reign in led):
            yield Vain(at_s, node, operation)


def _unserved(majority: Majority, asked: Iterable[Asked], patience_s: float) -> Finding | None:
    for kind, answered_s, vain in asked:
        due = [one for one in vain if majority.since_s <= one.at_s < majority.until_s and one.node in majority.reached]
        for _, group in itertools.groupby(due, key=lambda one: bisect.bisect(answered_s, one.at_s)):
            row = list(group)
            lasted_s = row[-1].at_s - row[0].at_s
            if len(row) >= SEVERAL and lasted_s > patience_s:
                return _in_a_row(majority, kind, row, row[0].at_s + patience_s)
    return None


def _in_a_row(majority: Majority, kind: Kind, row: Sequence[Vain], at_s: float) -> Finding:
    from_to = f"from {row[0].at_s:.4f} to {row[-1].at_s:.4f}"
    what = f"none of {counted(len(row), kind.name)} was answered that the leader was asked {from_to}"
    shown = tuple(line(one.operation) for one in row[:SHOWN])
    return Finding(CHECK, Verdict.INVALID, f"{_well(majority)} since {majority.since_s:.4f}, and {what}", at_s, shown)
