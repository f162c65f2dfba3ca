"""copycat#265, WRaft PR#118: as far as the leader has committed, our own tail is held for committed."""

from __future__ import annotations

from node.raft import AppendEntries, Raft


class Flawed(Raft):
    def _proven_commit(self, request: AppendEntries) -> int:
        return min(request.leader_commit, self.log.last_index)
