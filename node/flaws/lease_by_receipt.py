"""hashicorp/raft: the lease runs from an answer's receipt. A leader that slept finds old answers."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _lease_base_s(self, sent_at_s: float) -> float:
        return self._now
