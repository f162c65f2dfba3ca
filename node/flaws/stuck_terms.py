"""etcd#8243: a candidate's higher term is adopted by nobody, so that it waits for votes it cannot get."""

from __future__ import annotations

from node.raft import PreVote, Raft, RequestVote
from node.raft.messages import AnyMessage


class Flawed(Raft):
    def _settles_term(self, message: AnyMessage) -> bool:
        return not isinstance(message, PreVote | RequestVote)
