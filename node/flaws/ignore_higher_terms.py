"""§5.1 violated: an answer from a higher term does not end a leader's reign; it even extends its lease."""

from __future__ import annotations

from node.raft import AppendEntriesResponse, Raft
from node.raft.messages import AnyMessage


class Flawed(Raft):
    def _settles_term(self, message: AnyMessage) -> bool:
        return not isinstance(message, AppendEntriesResponse) and super()._settles_term(message)
