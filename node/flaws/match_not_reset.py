"""copycat#29, MongoDB SERVER-16570: what a follower answered in an earlier reign counts in this one."""

from __future__ import annotations

from node.raft import AppendEntriesResponse, InstallSnapshotResponse, Raft


class Flawed(Raft):
    def _counts_answer(self, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        return True
