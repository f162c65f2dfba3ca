"""Thesis 4.1 violated: a second change is begun before the first has committed."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _may_change_membership(self) -> bool:
        return self.commit_index >= self._first_index_of_reign
