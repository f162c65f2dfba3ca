"""etcd#20418: no answer counts as the confirmation of a read, which waits for ever."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _is_confirmed(self, read: object) -> bool:
        return False
