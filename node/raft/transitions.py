"""What can change in a node, as values: the lines of its trace.

`at_s` is the instant from which the change holds, on the clock the core was given. It can be earlier than the step that
noticed the change: a leader stopped past its lease ceased to lead when the lease ran out, not when it woke.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Role(StrEnum):
    FOLLOWER = "Follower"
    PRE_CANDIDATE = "PreCandidate"
    CANDIDATE = "Candidate"
    LEADER = "Leader"


class Transition(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=True):
    at_s: float
    term: int


class Cause(StrEnum):
    """Why a leader no longer leads."""

    LEASE_OVER = "lease over"
    """Too few servers answered in time, or the leader was stopped. What it heard afterwards made no difference."""
    HIGHER_TERM = "higher term"
    """The lease still held when a message of a later term came."""
    HANDED_OVER = "handed over"


class RoleChanged(Transition, frozen=True, kw_only=True, omit_defaults=True, tag="role"):
    role: Role
    cause: Cause | None = None
    """Set when a leader ceases to lead."""
    by: str | None = None
    """The sender of the message with the higher term."""


class TermChanged(Transition, frozen=True, kw_only=True, tag="term"):
    """The current term is now `term`."""


class Voted(Transition, frozen=True, kw_only=True, tag="vote"):
    candidate: str


class Committed(Transition, frozen=True, kw_only=True, tag="commit"):
    commit_index: int
    entry_term: int
    """The term of the entry at `commit_index`."""


class MembershipChanged(Transition, frozen=True, kw_only=True, tag="membership"):
    """The configuration in force is now this one; a node that starts says which one it found."""

    index: int
    """Where the configuration is in the log, committed or not; 0 means that there is none."""
    voters: tuple[str, ...]
    others: tuple[str, ...]


class SnapshotTaken(Transition, frozen=True, kw_only=True, tag="snapshot_taken"):
    index: int
    """The last entry that the snapshot stands for."""


class SnapshotInstalled(Transition, frozen=True, kw_only=True, tag="snapshot_installed"):
    index: int


class LeadershipTransferred(Transition, frozen=True, kw_only=True, tag="transfer"):
    """The leader ceased to lead and told `to` to stand for election."""

    to: str
