"""An order to stand that comes late is obeyed, and the votes go with it that a living leader's lease holds back."""

from __future__ import annotations

from node.raft import Raft, TimeoutNow


class Flawed(Raft):
    def _is_told_to_stand(self, request: TimeoutNow) -> bool:
        return True
