"""BUGS.md 41, logcabin#56: a candidate's term is adopted while a leader may live, whose lease then excludes nobody."""

from __future__ import annotations

from node.raft import PreVote, Raft
from node.raft.messages import AnyMessage


class Flawed(Raft):
    def _settles_term(self, message: AnyMessage) -> bool:
        return not isinstance(message, PreVote)
