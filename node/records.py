"""What a server writes in its trace besides the core's transitions: its life, what it has applied, and its lease. Pure.

A trace is true as far as it goes, whenever its node is killed, stopped or starved: of what is not in it nobody may
conclude that it went on. So a reign says in advance until when it lasts (`Leased`), and whoever reads the trace of a
node that wrote no more takes the last of these for its end.
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
    """As leader, the node may say so until then, and no longer unless a later one says so."""

    until_s: float | None
    """None is for ever: it is the only voter."""


class Stopped(Transition, frozen=True, kw_only=True, tag="stop"):
    """The node goes down on request."""
