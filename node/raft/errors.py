"""What `Raft` refuses. When it raises one of these errors, it has changed nothing."""

from __future__ import annotations


class NotLeaderError(Exception):
    """Only the leader can do this; `leader` is its name, if this node knows it."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not leader (the leader is {leader or 'not known'})")
        self.leader = leader


class MembershipChangeError(Exception):
    """This change cannot be made; the text says why and, where there is one, what to do."""


class TransferError(Exception):
    """Leadership cannot be handed to that server; the text says why."""


class TransferInProgressError(Exception):
    """The leader is handing over and takes nothing new meanwhile; ask again in a moment."""

    def __init__(self, target: str) -> None:
        super().__init__(f"leadership is being transferred to {target}")


class ProtocolViolationError(Exception):
    """A message that no correct peer sends."""
