"""Whether the faults of a run met any traffic: a cut of a silent link proves nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from bench.evidence import Evidence, Record
from bench.operations import Operation, Outcome
from bench.verdict import Finding, Verdict
from bench.words import counted, times
from faults.links import BYPASS, CLIENT, KEPT, Kind

CHECK = "faults_touched_traffic"
_Met = tuple[tuple[str, ...], int]
"""Links that were faulty until all at once they were healed, and how many messages went their way."""
PUT = ("cut", "delay", "limit", "noise")


def faults_touched_traffic(evidence: Evidence) -> Finding:
    """Something was to go over the links of every fault while it was in force.

    Between nodes the `heal` event has the number of messages, in `attempted`, counted by those who sent them to the
    link: a message that a cut swallowed or refused counts. From clients the history has it. What one `heal` ends is
    looked at together, and so are faults that overlap on a link: an `end` leaves others in force. A fault that was
    never healed was never counted, so nothing is known of it.
    """
    met, unhealed = _met(evidence)
    past = gone_past(evidence)
    if past is not None:
        return Finding(CHECK, Verdict.UNKNOWN, past)
    for links, messages in met:
        if not messages:
            return Finding(CHECK, Verdict.UNKNOWN, f"nothing was sent over {', '.join(links)} while it was faulty")
    if unhealed:
        return Finding(CHECK, Verdict.UNKNOWN, f"{', '.join(unhealed)} never healed, so what it met was not counted")
    return _valid(CHECK, met)


def some_fault_touched_traffic(evidence: Evidence) -> Finding:
    """The same, asked of a run whose faults fall where they may: one of those on links met something, if there were
    any."""
    check = "some_fault_touched_traffic"
    met, unhealed = _met(evidence)
    past = gone_past(evidence)
    if past is not None:
        return Finding(check, Verdict.UNKNOWN, past)
    if (met or unhealed) and not any(messages for _, messages in met):
        return Finding(check, Verdict.UNKNOWN, "no fault on a link is known to have met anything")
    return _valid(check, met)


def gone_past(evidence: Evidence) -> str | None:
    """Which connection went past its link in a run with faults on links, in words, None if none is known to have.

    One is enough: what any node heard, it may have heard by that way, so no fault is known to have kept it from it.
    """
    met, unhealed = _met(evidence)
    past = [record for record in evidence.timeline if record["event"] == BYPASS]
    faulty = {link for links, _ in met for link in links}.union(unhealed)
    if not past or not faulty:
        return None
    told = next((record for record in past if record["links"] in faulty), past[0])
    return f"{told['links']} was gone past ({told['detail']}), so nothing is known to have been cut or slowed"


def _valid(check: str, met: Sequence[_Met]) -> Finding:
    if not met:
        return Finding(check, Verdict.VALID, "no fault was put on a link")
    messages = sum(messages for _, messages in met)
    return Finding(check, Verdict.VALID, f"{times(len(met))} links were faulty, and met {counted(messages, 'message')}")


def _met(evidence: Evidence) -> tuple[list[_Met], list[str]]:
    """What each healing of links had met, and the links that were never healed."""
    since: dict[str, float] = {}
    met: list[_Met] = []
    for record in evidence.timeline:
        if record["event"] in PUT:
            for link in _links(record):
                since.setdefault(link, record["at_s"])
        elif record["event"] in ("heal", KEPT):
            faulty = {link: since.pop(link) for link in _links(record) if link in since}
            if faulty:
                messages = record.get("attempted", 0) + _operations(evidence, faulty, record["at_s"])
                met.append((tuple(faulty), messages))
    return met, list(since)


def _links(record: Record) -> list[str]:
    return [link for link in record["links"].split(",") if link]


def _operations(evidence: Evidence, faulty: dict[str, float], until_s: float) -> int:
    """How many operations, and tries of them, clients sent over these links, each from when it was faulty."""
    return sum(
        faulty.get(f"{CLIENT}->{node}", until_s) <= invoked_s < until_s
        for operation in evidence.history
        for node, invoked_s in operation.questions
    )


def requests_that_may_come_twice(evidence: Evidence) -> Callable[[Operation], bool]:
    """Which operations noise may have doubled: those that were on their way over a client's link while messages were
    doubled there. What was sent before may have been held up, and what was given up may be under way for ever."""
    since: dict[str, list[float]] = defaultdict(list)
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in evidence.timeline:
        for node in _asked_over(record):
            if record["event"] == Kind.NOISE:
                since[node].append(record["at_s"])
            elif since[node] and (record["event"] == "heal" or Kind.NOISE in record["detail"].split(", ")):
                began_s = since[node].pop(0) if record["event"] == "end" else since.pop(node)[0]
                spans[node].append((began_s, record["at_s"]))
    for node, begun_s in since.items():
        spans[node] += [(at_s, math.inf) for at_s in begun_s]

    def may_come_twice(operation: Operation) -> bool:
        ended_s = math.inf if operation.outcome is Outcome.UNKNOWN or operation.tries else operation.completed_s
        return bool(spans) and any(
            at_s <= until_s and since_s <= ended_s
            for node, at_s in operation.questions
            for since_s, until_s in spans[node]
        )

    return may_come_twice


def _asked_over(record: Record) -> list[str]:
    """The nodes whose client links the record is about, if it may be about noise there."""
    if record["event"] not in (Kind.NOISE, "heal", "end"):
        return []
    return [link.partition("->")[2] for link in _links(record) if link.startswith(f"{CLIENT}->")]
