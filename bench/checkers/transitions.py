"""Whether what the nodes wrote down is a run of Raft: their traces, replayed through `bench.checkers.specification`.

The other checks ask for what Raft promises. This one asks for each step on the way, so it tells of a node that has gone
wrong before any promise is broken, and with which step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from bench.checkers.specification import FOLLOWS, LEADER, RULES, START_ANEW, NodeState, Rule, Seen
from bench.checkers.stable import losses, rests_on_stable_storage
from bench.evidence import Evidence, Record
from bench.verdict import Finding, Verdict
from bench.words import counted

CHECK = "traces_follow_raft"
ROUNDING_S = 1e-6
"""In virtual time, a node can start at the very instant at which it died, as far as its clock can tell."""
BEFORE = 6
"""So many records of the node are told, and of the others."""
RELATED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "start": ("term", ("start", "role")),
    "term": ("term", ("vote", "role")),
    "vote": ("term", ("vote", "role")),
    "role": ("term", ("vote", "role")),
    "lease": ("term", ("role",)),
    "transfer": ("term", ("role",)),
    "commit": ("commit_index", ("commit",)),
    "applied": ("index", ("applied",)),
    "membership": ("index", ("membership",)),
    "snapshot_installed": ("index", ("snapshot_taken", "snapshot_installed")),
}
"""Which records of other nodes throw light on one: those of these events that have the same in this field."""


class Written(NamedTuple):
    """A record, and when it was written at the earliest: no sooner than those before it. One that says when a lease was
    over, which its node noticed later, is older than it should be."""

    at_s: float
    node: str
    record: Record


class Breach(NamedTuple):
    """A transition that is not allowed."""

    written: Written
    rule: Rule
    why_not: str

    def __str__(self) -> str:
        _, node, record = self.written
        return f"{node} may not write {_told(record)}: {self.why_not} ({self.rule.name}: Raft {self.rule.paper})"


@rests_on_stable_storage
def traces_follow_raft(evidence: Evidence) -> Finding:
    """Every transition in the nodes' traces is one that Raft allows (Figures 2 and 4, thesis 4), up to the first that
    is not."""
    for node, trace in evidence.traces.items():
        if trace and trace[0]["event"] != "start":
            return Finding(CHECK, Verdict.UNKNOWN, f"the trace of {node} does not begin with its start")
    written = in_order(_with_losses(evidence))
    breach = first_breach(written, _last_s(evidence))
    if breach is not None:
        at_s = breach.written.record["at_s"]
        return Finding(CHECK, Verdict.INVALID, str(breach), at_s, tuple(_details(breach, written)))
    if not any(record.get("role") == LEADER for _, _, record in written):
        return Finding(CHECK, Verdict.UNKNOWN, "no trace shows a leader, so little was checked")
    nodes = counted(sum(map(bool, evidence.traces.values())), "node")
    return Finding(CHECK, Verdict.VALID, f"{counted(len(written), 'record')} of {nodes} follow Raft")


def in_order(traces: Mapping[str, tuple[Record, ...]]) -> list[Written]:
    """All records, as they were written one after the other on the clock that the nodes share."""
    written = []
    for node, trace in traces.items():
        at_s = -math.inf
        for record in trace:
            at_s = max(at_s, record["at_s"])
            written.append(Written(at_s, node, record))
    # Sorting keeps records of one instant in their order, so each node's stay in the order in which it wrote them.
    return sorted(written, key=itemgetter(0))


def _with_losses(evidence: Evidence) -> Mapping[str, tuple[Record, ...]]:
    """The traces. A start after which nobody can hold a node to what it had saved is another event: it may go on as if
    it had never run, and breaks a promise only if others show it."""
    traces = dict(evidence.traces)
    for node, _, down_s, _ in losses(evidence):
        trace = traces.get(node, ())
        at = next((at for at, record in enumerate(trace) if _starts_after(record, down_s)), None)
        if at is not None:
            traces[node] = (*trace[:at], {**trace[at], "event": START_ANEW}, *trace[at + 1 :])
    return traces


def _starts_after(record: Record, down_s: float) -> bool:
    return bool(record["event"] in ("start", START_ANEW) and record["at_s"] > down_s - ROUNDING_S)


def first_breach(written: list[Written], last_s: Mapping[str, float]) -> Breach | None:
    """The first transition that is not allowed; `last_s` is when each node was last heard of (`Seen.last_s`)."""
    seen, states = Seen(last_s), dict[str, NodeState]()
    for one in written:
        _, node, record = one
        event = record["event"]
        if (state := states.get(node)) is None:
            state = states[node] = NodeState(node)
        for rule in RULES.get(event, ()):
            if why_not := rule.why_not(state, record, seen):
                return Breach(one, rule, why_not)
        if (follow := FOLLOWS.get(event)) is not None:
            follow(state, record, seen)
    return None


def _last_s(evidence: Evidence) -> Mapping[str, float]:
    """Of nobody, if a clock was changed. Its records hold from instants that may come before their causes."""
    if any(record["event"] == "clock_rate" for record in evidence.timeline):
        return {}
    return {node: trace[-1]["at_s"] for node, trace in evidence.traces.items() if trace}


# In words


def _details(breach: Breach, written: list[Written]) -> Iterator[str]:
    """What the node wrote last, and what others wrote about the same."""
    before = written[: written.index(breach.written)]
    _, node, record = breach.written
    own = [one for one in before if one.node == node and one.record["event"] not in ("lease", "applied")]
    others = [one for one in written if one.node != node and _is_related(one.record, record)]
    yield from (f"before: {_line(one)}" for one in own[-BEFORE:])
    yield f"not allowed: {_line(breach.written)}"
    yield from (f"others: {_line(one)}" for one in others[:BEFORE])


def _is_related(other: Record, record: Record) -> bool:
    field, events = RELATED.get(record["event"], ("", ()))
    return other["event"] in events and bool(other.get(field) == record[field])


def _line(written: Written) -> str:
    return f"{written.record['at_s']:.4f} {written.node} {_told(written.record)}"


def _told(record: Record) -> str:
    """The event and its fields, the term last."""
    hidden = ("at_s", "event", "term", "monotonic_s", "digest", "pid", "node")
    fields = [f"{name}={_value(value)}" for name, value in record.items() if name not in hidden]
    return " ".join([record["event"], *fields, f"in term {record['term']}"])


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
