"""etcd#741, consul#54: a leader answers a read without asking whether it still leads."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _is_confirmed(self, read: object) -> bool:
        return True
