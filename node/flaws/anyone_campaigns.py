"""hashicorp#524: who is no voter, any more or yet, stands for election all the same."""

from __future__ import annotations

from node.raft import Raft


class Flawed(Raft):
    def _may_campaign(self) -> bool:
        return True
