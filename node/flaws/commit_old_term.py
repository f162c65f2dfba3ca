"""logcabin#44, PySyncObj#110: copies of an older term's entry are counted (Raft, Figure 8)."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _may_commit(self, index: int) -> bool:
        return index > self.commit_index
