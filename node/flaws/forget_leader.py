"""Thesis 4.2.3 violated: a voter elects another while its leader may live, so that two lead at one instant."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _leader_may_live(self) -> bool:
        return False
