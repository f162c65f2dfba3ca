"""Thesis 4.2.3 violated: whoever stands for election is heard at once, so that who was let go deposes a leader."""

from __future__ import annotations

from node.raft import PreVote, Raft
from node.raft.messages import AnyMessage


class Flawed(Raft):
    def _settles_term(self, message: AnyMessage) -> bool:
        return not isinstance(message, PreVote)
