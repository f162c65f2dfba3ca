"""raft-dev 2015, copycat#23: a leader changes members before it has committed in its own term."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _may_change_membership(self) -> bool:
        return self.commit_index >= self.configuration_index
