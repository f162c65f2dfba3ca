"""CCF: a success vouches for the whole log, own tail included."""

from __future__ import annotations

from node.raft import AppendEntries, Raft


class Flawed(Raft):
    def _proven_match(self, request: AppendEntries) -> int:
        return self.log.last_index
