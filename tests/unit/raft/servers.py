"""One server of three, and what the others say to it."""

from __future__ import annotations

import random

from node.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Entry,
    EntryKind,
    FlowLimits,
    HardState,
    Log,
    PreVoteResponse,
    Raft,
    RequestVote,
    RequestVoteResponse,
    Role,
)
from tests.unit.raft.harness import TIMING

NOW = 100.0
MEMBERS = [("n1", "h:1"), ("n2", "h:2"), ("n3", "h:3")]


def follower(*terms: int, term: int | None = None, voted_for: str | None = None, now: float = NOW) -> Raft:
    """n1 of three, with a configuration at index 1 and entries of these terms behind it, long without contact."""
    configuration = Entry(1, 1, EntryKind.CONFIGURATION, Configuration.first(MEMBERS).encode())
    entries = [Entry(index, t, EntryKind.COMMAND, b"") for index, t in enumerate(terms, 2)]
    current = term if term is not None else max([1, *terms])
    return Raft(
        "n1",
        log=Log([configuration, *entries]),
        hard_state=HardState(current, voted_for),
        timing=TIMING,
        limits=FlowLimits(),
        rng=random.Random(1),
        now=now - 10,
    )


def ask_vote(node: Raft, *, sender: str = "n2", term: int, last: tuple[int, int], now: float = NOW) -> bool:
    """Whether the node grants a vote to a candidate whose last entry is (index, term)."""
    request = RequestVote(
        sender=sender, recipient="n1", term=term, last_log_index=last[0], last_log_term=last[1], sent_at_s=now
    )
    node.receive(request, now)
    (answer,) = node.take_effects().messages
    assert isinstance(answer, RequestVoteResponse)
    return answer.granted


def append(
    node: Raft, *, term: int, prev: tuple[int, int], terms: list[int], commit: int = 0, now: float = NOW
) -> AppendEntriesResponse:
    """The node's answer to entries of these terms behind the entry prev."""
    entries = tuple(Entry(prev[0] + i, t, EntryKind.COMMAND, b"new") for i, t in enumerate(terms, 1))
    request = AppendEntries(
        sender="n2",
        recipient="n1",
        term=term,
        prev_log_index=prev[0],
        prev_log_term=prev[1],
        entries=entries,
        leader_commit=commit,
        sent_at_s=7.0,
    )
    node.receive(request, now)
    (answer,) = node.take_effects().messages
    assert isinstance(answer, AppendEntriesResponse)
    return answer


def candidate(*terms: int) -> Raft:
    """n1 of three as the candidate of term 2 that won its pre-vote; what it asks for is not taken yet."""
    node = follower(*terms)
    node.campaign(NOW)
    node.take_effects()
    node.receive(PreVoteResponse(sender="n2", recipient="n1", term=1, next_term=2, granted=True), NOW)
    assert (node.role, node.current_term) == (Role.CANDIDATE, 2)
    return node


def elected(*terms: int) -> Raft:
    """The same, with the vote of n2."""
    node = candidate(*terms)
    vote(node)
    return node


def vote(node: Raft, *, sender: str = "n2", granted: bool = True) -> None:
    term = node.current_term
    node.receive(RequestVoteResponse(sender=sender, recipient="n1", term=term, granted=granted, sent_at_s=NOW), NOW)


def appends(node: Raft) -> dict[str, AppendEntries]:
    """What it sends to each, one message."""
    sent = [message for message in node.take_effects().messages if isinstance(message, AppendEntries)]
    assert len(sent) == len({message.recipient for message in sent})
    return {message.recipient: message for message in sent}


def answer(node: Raft, asked: AppendEntries, *, success: bool = True, conflict_index: int = 0) -> None:
    """The follower's answer to what the leader `node` asked of it."""
    node.receive(
        AppendEntriesResponse(
            sender=asked.recipient,
            recipient=node.id,
            term=node.current_term,
            success=success,
            prev_log_index=asked.prev_log_index,
            match_index=asked.last_index if success else 0,
            conflict_index=conflict_index,
            sent_at_s=asked.sent_at_s,
        ),
        NOW,
    )
