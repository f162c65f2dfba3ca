"""cockroach#92089: a leader that nobody answers leads on, and answers reads on a lease long over."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _lease_holds(self) -> bool:
        return True
