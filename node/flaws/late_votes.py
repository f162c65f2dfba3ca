"""A vote that was given in an earlier term elects a candidate of this one."""

from __future__ import annotations

from node.raft import Raft, RequestVoteResponse


class Flawed(Raft):
    def _counts_vote(self, response: RequestVoteResponse) -> bool:
        return response.granted
