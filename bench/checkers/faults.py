"""Whether the faults of a run met any traffic: a cut of a silent link proves nothing."""

from __future__ import annotations

from bench.evidence import Evidence, Record
from bench.verdict import Finding, Verdict
from faults.links import CLIENT

CHECK = "faults_touched_traffic"
PUT = ("cut", "delay", "limit", "noise")


def faults_touched_traffic(evidence: Evidence) -> Finding:
    """Something was to go over the links of every fault while it was in force.

    Between nodes the `heal` event has the number of messages, in `attempted`, counted by those who sent them: a message
    that a cut swallowed counts. From clients the history has it. What one `heal` ends is looked at together, and so are
    faults that overlap on a link: an `end` leaves others in force. A fault that was never healed was never counted, so
    nothing is known of it.
    """
    since: dict[str, float] = {}
    healed = 0
    messages = 0
    for record in evidence.timeline:
        if record["event"] in PUT:
            for link in _links(record):
                since.setdefault(link, record["at_s"])
        elif record["event"] == "heal":
            faulty = {link: since.pop(link) for link in _links(record) if link in since}
            if not faulty:
                continue
            met = record.get("attempted", 0) + _operations(evidence, faulty, record["at_s"])
            if not met:
                return Finding(CHECK, Verdict.UNKNOWN, f"nothing was sent over {', '.join(faulty)} while it was faulty")
            healed, messages = healed + 1, messages + met
    if since:
        return Finding(CHECK, Verdict.UNKNOWN, f"{', '.join(since)} never healed, so what it met was not counted")
    if not healed:
        return Finding(CHECK, Verdict.VALID, "no fault was put on a link")
    return Finding(CHECK, Verdict.VALID, f"{healed} times links were faulty, and met {messages} messages")


def _links(record: Record) -> list[str]:
    return [link for link in record["links"].split(",") if link]


def _operations(evidence: Evidence, faulty: dict[str, float], until_s: float) -> int:
    """How many operations, and tries of them, clients sent over these links, each from when it was faulty."""
    return sum(
        faulty.get(f"{CLIENT}->{node}", until_s) <= invoked_s < until_s
        for operation in evidence.history
        for node, invoked_s in operation.questions
    )
