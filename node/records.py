"""What a server writes in its trace besides the core's transitions: start, stop, what it has applied, its lease. Pure.

A trace is true as far as it goes, even if its node is killed, stopped or starved: where it ends, nobody may conclude
that the last state went on. So a leader says in advance how long it leads (`Leased`). If its node writes nothing more,
the reader takes the last of these records for the end of the leadership.
"""

from __future__ import annotations

from node.raft.transitions import Transition


class Started(Transition, frozen=True, kw_only=True, tag="start"):
    """The node is up, with what it found on its disk."""

    node: str
    pid: int
    """Which process, of those that have run on this disk."""
    voted_for: str | None
    last_index: int


class Applied(Transition, frozen=True, kw_only=True, tag="applied"):
    """The state machine has applied up to `index`; `digest` chains every entry up to there."""

    index: int
    digest: str


class Leased(Transition, frozen=True, kw_only=True, tag="lease"):
    """As leader, the node may say so until then, and no longer unless a later record says so."""

    until_s: float | None
    """None means for ever: the node is the only voter."""


class Stopped(Transition, frozen=True, kw_only=True, tag="stop"):
    """The node goes down on request."""
