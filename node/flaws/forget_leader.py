"""BUGS.md 32: a voter elects another while its leader may live, so that two lead at one instant (thesis 4.2.3)."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _leader_may_live(self) -> bool:
        return False
