"""zeebe#5356, akka-raft#56: a second candidate of one term gets a vote as well."""

from __future__ import annotations

from node.raft import Raft, RequestVote


class Flawed(Raft):
    def _may_grant_vote(self, request: RequestVote) -> bool:
        return (
            request.term == self.current_term
            and self._log_is_up_to_date(request.last_log_index, request.last_log_term)
            and (request.leadership_transfer or not self._leader_may_live())
        )
