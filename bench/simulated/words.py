"""What happened, in words: one line each, for the reader of a run's log.

An entry is written index/term. Nothing here is called while the world runs: the chronicle keeps the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from bench.operations import Outcome, Told
from bench.schedule import AnyFault, Fault
from bench.simulated import requests
from bench.simulated.requests import Request
from bench.words import fault, question, short
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


class Over(NamedTuple):
    """A fault has ended."""

    fault: AnyFault


class Answered(NamedTuple):
    """A client was told this, or could wait no longer."""

    request: Request
    told: Told


def happening(who: str, what: object) -> str:
    """What happened to whom: a message delivered, a transition, a question, an answer, a fault; or text as it is."""
    match what:
        case Message():
            return f"{what.sender} -> {what.recipient} {message(what, span)}"  # type: ignore[arg-type]
        case Transition():
            return f"{who}: {change(what)}"
        case Request():
            return f"client {what.client} asks {who}: {question(what.asked)}"
        case Answered(request, told):
            return answered(request, told)
        case Fault():
            return f"{who}: {fault(what)}"  # type: ignore[arg-type]
        case Over(ended):
            return f"{who} over: {fault(ended)}"
    return f"{who}: {what}"


def is_heartbeat(what: object) -> bool:
    """Whether it says no more than that a leader is there, or that it was heard."""
    match what:
        case AppendEntries(entries=entries):
            return not entries
        case AppendEntriesResponse(success=success):
            return success
    return False


# What nodes do


def message(sent: AnyMessage, listed: Callable[[Sequence[Entry]], str]) -> str:
    """The message without sender and recipient; `listed` puts its entries in words. `sent_at_s` is left out: it is a
    reading of the sender's own clock, which means nothing to others."""
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
    """Which entries these are; they follow one another."""
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


def answered(request: Request, told: Told) -> str:
    silent = told in (requests.NO_ANSWER, requests.CONNECTION_LOST)
    whose = f"client {request.client} hears nothing from" if silent else f"client {request.client} is told by"
    found = short(str(told.result or "")) if told.outcome is Outcome.OK else told.reason
    return f"{whose} {request.node}: {question(request.asked)}: {told.outcome.value}{f', {found}' if found else ''}"
