"""etcd#7331, tikv PR#6340: a new leader answers reads from a commit index it inherited too low."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _read_index(self) -> int:
        return self.commit_index
