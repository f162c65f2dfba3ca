"""zeebe#6092: a snapshot that comes late takes away what follows it in the log."""

from __future__ import annotations

from node.raft import Raft, SnapshotMeta


class Flawed(Raft):
    def _is_prefix(self, meta: SnapshotMeta) -> bool:
        return False
