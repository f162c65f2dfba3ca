"""What happened, in words: one line each, for whoever reads what led to a violation.

An entry is written index/term. Nothing here is asked for while nothing is violated: a chronicle keeps the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from bench.history import Outcome
from bench.simulated import requests
from bench.simulated.requests import Request, Told
from faults.schedule import (
    ROLES,
    Crash,
    Cut,
    Delay,
    Drift,
    Fault,
    FullDisk,
    Join,
    Leave,
    Limit,
    Load,
    Noise,
    Pause,
    Readdress,
    SlowDisk,
    Snapshot,
    Transfer,
)
from node.raft import AppendEntries, AppendEntriesResponse, Entry, InstallSnapshot, InstallSnapshotResponse
from node.raft.messages import AnyMessage, Message
from node.raft.transitions import (
    Committed,
    LeadershipTransferred,
    MembershipChanged,
    RoleChanged,
    SnapshotInstalled,
    SnapshotTaken,
    TermChanged,
    Transition,
    Voted,
)
from node.server import Started, Stopped

LONG = 20
"""What is longer is told by its beginning and its length."""


class Over(NamedTuple):
    """A fault has ended."""

    fault: Fault


class Answered(NamedTuple):
    """A client was told this, or could wait no longer."""

    request: Request
    told: Told


def happening(who: str, what: object) -> str:
    """What happened to whom: a message delivered, a transition, a question, an answer, a fault; or words already."""
    match what:
        case Message():
            return f"{what.sender} -> {what.recipient} {message(what, span)}"  # type: ignore[arg-type]
        case Transition():
            return f"{who}: {change(what)}"
        case Request():
            return f"client {what.client} asks {who}: {question(what)}"
        case Answered(request, told):
            return answered(request, told)
        case Fault():
            return f"{who}: {fault(what)}"
        case Over(ended):
            return f"{who} over: {fault(ended)}"
    return f"{who}: {what}"


# What nodes do


def message(sent: AnyMessage, listed: Callable[[Sequence[Entry]], str]) -> str:
    """The message without its ends; `listed` has the words for its entries. Whose clock `sent_at_s` is read from is
    known to the sender alone, so that is left out."""
    match sent:
        case AppendEntries():
            after = f"after {sent.prev_log_index}/{sent.prev_log_term} commit={sent.leader_commit}"
            what = f"{listed(sent.entries)} {after}"
        case AppendEntriesResponse():
            what = f"match={sent.match_index}" if sent.success else f"refused, try {sent.conflict_index}"
        case InstallSnapshot():
            what = f"{sent.last_index}/{sent.last_term} bytes {sent.offset}+{len(sent.data)}/{sent.total}"
        case InstallSnapshotResponse():
            what = f"{sent.last_index} has {sent.offset}"
        case _:
            fields = msgspec.structs.asdict(sent)
            left_out = ("sender", "recipient", "term", "sent_at_s")
            what = " ".join(f"{key}={value}" for key, value in fields.items() if key not in left_out)
    return f"{type(sent).__name__} term={sent.term} {what}".rstrip()


def span(entries: Sequence[Entry]) -> str:
    """Which entries these are, which follow one another."""
    if not entries:
        return "no entries"
    first, last = entries[0], entries[-1]
    ends = f"{first.index}/{first.term}"
    return f"entry {ends}" if first is last else f"entries {ends} to {last.index}/{last.term}"


def change(transition: Transition) -> str:
    match transition:
        case RoleChanged(role=role, term=term, cause=cause, by=by):
            why = f" ({cause.value}{f', from {by}' if by else ''})" if cause else ""
            return f"{role.value} in term {term}{why}"
        case TermChanged(term=term):
            return f"term {term}"
        case Voted(candidate=candidate, term=term):
            return f"votes for {candidate} in term {term}"
        case Committed(commit_index=index):
            return f"commits up to {index}"
        case MembershipChanged(index=index, voters=voters, others=others):
            return f"configuration {index}: {','.join([*voters, *(f'({name})' for name in others)]) or 'none'}"
        case SnapshotTaken(index=index):
            return f"has a snapshot of {index}"
        case SnapshotInstalled(index=index):
            return f"installs the snapshot of {index}"
        case LeadershipTransferred(to=to):
            return f"hands over to {to}"
        case Started():
            return "start"
        case Stopped():
            return "stop"
    raise AssertionError(f"no words for {transition}")


# What clients and operators do


def question(request: Request) -> str:
    asked = request.invocation
    value = f" = {_short(asked.value)}" if asked.value is not None else ""
    number = f" (write {asked.sequence})" if asked.sequence else ""
    return f"{'consistent ' if asked.consistent else ''}{asked.kind} {asked.key}{value}{number}".rstrip()


def _short(value: str) -> str:
    return value if len(value) <= LONG else f"{value[:LONG]}... ({len(value)} characters)"


def answered(request: Request, told: Told) -> str:
    silent = told in (requests.NO_ANSWER, requests.CONNECTION_LOST)
    whose = f"client {request.client} hears nothing from" if silent else f"client {request.client} is told by"
    found = _short(told.result or "") if told.outcome is Outcome.OK else told.reason
    return f"{whose} {request.node}: {question(request)}: {told.outcome.value}{f', {found}' if found else ''}"


# What is done to them


def fault(done: Fault) -> str:
    lasts = f" for {done.for_s:g} s" if done.for_s else ""
    return f"{FAULTS[type(done)](done)}{lasts}"


def whom(name: str) -> str:
    """A node, or who has the role."""
    return {"leader": "the leader", "follower": "a follower"}[name] if name in ROLES else name


def _links(on: Cut | Delay | Limit) -> str:
    sources, targets = (", ".join(map(whom, names)) or "everybody else" for names in (on.sources, on.targets))
    return f"between {sources} and {targets}" if on.both_ways else f"from {sources} to {targets}"


FAULTS: dict[type[Fault], Callable[[Any], str]] = {
    Crash: lambda done: f"{whom(done.node)} is killed{' in its next save, which is torn,' if done.torn else ''}",
    Pause: lambda done: f"{whom(done.node)} is stopped",
    SlowDisk: lambda done: f"each save of {whom(done.node)} takes {done.latency_ms} ms longer",
    FullDisk: lambda done: f"the disk of {whom(done.node)} is full",
    Drift: lambda done: f"the clock of {whom(done.node)} runs at {done.rate:g} of its rate",
    Cut: lambda done: f"links {_links(done)} are cut ({done.mode.value})",
    Delay: lambda done: f"links {_links(done)} are {done.latency_ms} ms late, up to {done.jitter_ms} ms more or less",
    Limit: lambda done: f"links {_links(done)} carry {done.rate_kib_s} KiB a second",
    Noise: lambda done: (
        f"messages are lost ({done.loss:g}), doubled ({done.duplication:g}), overtaken ({done.reordering:g})"
    ),
    Load: lambda done: f"{done.clients} client{'s write and read' if done.clients > 1 else ' writes and reads'}",
    Join: lambda done: f"{whom(done.node)} is to join{' under a wrong address' if done.wrong_address else ''}",
    Readdress: lambda done: f"{whom(done.node)} moves to another address, under which it is to join,",
    Leave: lambda done: f"{whom(done.node)} is to leave",
    Transfer: lambda done: f"{whom(done.node)} is to be handed the leadership",
    Snapshot: lambda done: f"{whom(done.node)} is to take a snapshot",
}
