"""Thesis 9.6 left out: who was cut off spends a term at every time-out, and deposes the leader when it is back."""

from __future__ import annotations

from node.raft import Raft, Role


class Flawed(Raft):
    def _is_elected(self) -> bool:
        return self.role is Role.PRE_CANDIDATE or super()._is_elected()
