"""What takes several rounds: adding a server, removing one, handing leadership over. Pure.

Once a round the server polls each change. A change that is over answers its client; any other takes its next step. When
the core refuses, `poll` raises, and the server tells the client.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from node.errors import LeadershipLostError, NotInTimeError
from node.pending import Pending
from node.questions import CHANGE_TIMEOUT_S, AddServer, RemoveServer, TransferLeadership
from node.raft import (
    MembershipChangeError,
    NotLeaderError,
    Raft,
    Role,
    TransferError,
    TransferInProgressError,
    Transition,
)
from node.raft.transitions import LeadershipTransferred

REFUSED = (
    NotLeaderError,
    MembershipChangeError,
    TransferError,
    TransferInProgressError,
    LeadershipLostError,
    NotInTimeError,
)
"""How a change can end other than with an answer."""


class Change(Protocol):
    to: Any
    """The client to answer."""

    def poll(self, raft: Raft, pending: Pending, now: float) -> bool:
        """Do what can be done now; returns whether the change is over. Raises one of `REFUSED`."""

    def note(self, transition: Transition) -> None:
        """The core reports this transition."""


class Joining:
    """Over when the server votes under its address; refused when the server is given another address meanwhile.

    Otherwise two requests at once, with different addresses for a server that is not yet a voter, would undo each other
    until both run out of time: thousands of configurations, each of them saved and sent.
    """

    def __init__(self, join: AddServer, to: Any, now: float) -> None:
        self.to = to
        self._server_id = join.server_id
        self._address = join.address
        self._begun = False
        self._stood = False
        """Whether the address has been in the configuration."""
        self._deadline_s = now + CHANGE_TIMEOUT_S

    def note(self, transition: Transition) -> None:
        """Nothing: `poll` looks at the configuration."""

    def poll(self, raft: Raft, pending: Pending, now: float) -> bool:
        if self._stood and self._address_in(raft) not in (self._address, None) and raft.role is Role.LEADER:
            raise MembershipChangeError(f"{self._server_id} was given another address than {self._address} since")
        try:
            joined = raft.join(self._server_id, self._address, now)
        except NotLeaderError as error:
            if self._begun:
                # The server may be staged by now, and the next leader may make it a voter.
                raise LeadershipLostError(
                    f"leadership was lost while {self._server_id} was being brought in"
                ) from error
            raise
        self._begun = True
        self._stood = self._stood or self._address_in(raft) == self._address
        if joined:
            pending.answer(self.to, None)
            return True
        if now >= self._deadline_s:
            raft.abandon_join(self._server_id, now)
            raise NotInTimeError(f"{self._server_id} at {self._address} did not catch up in {CHANGE_TIMEOUT_S:g} s")
        return False

    def _address_in(self, raft: Raft) -> str | None:
        """The server's address in the configuration."""
        server = raft.configuration.get(self._server_id)
        return server.address if server else None


class Leaving:
    """Over when the configuration without the server is appended; the client is told when that is committed."""

    def __init__(self, leave: RemoveServer, to: Any, now: float) -> None:
        self.to = to
        self._server_id = leave.server_id
        self._deadline_s = now + CHANGE_TIMEOUT_S

    def note(self, transition: Transition) -> None:
        """Nothing: the client waits for the entry."""

    def poll(self, raft: Raft, pending: Pending, now: float) -> bool:
        position = raft.leave(self._server_id, now)
        if position is not None:
            pending.await_decision(position, self.to, now)
            return True
        if now >= self._deadline_s:
            raise NotInTimeError(
                f"{self._server_id} was not removed: other changes were under way for {CHANGE_TIMEOUT_S:g} s"
            )
        return False


class Transferring:
    """Over when another server leads; the answer is its name."""

    def __init__(self, transfer: TransferLeadership, to: Any, now: float) -> None:
        self.to = to
        self._successor = transfer.to
        self._target: str | None = None
        self._handed_over = False
        self._deadline_s = math.inf

    def note(self, transition: Transition) -> None:
        """Remember that the target was told to stand for election."""
        if isinstance(transition, LeadershipTransferred) and transition.to == self._target:
            self._handed_over = True

    def poll(self, raft: Raft, pending: Pending, now: float) -> bool:
        if self._target is None:
            self._target = raft.transfer_leadership(self._successor, now)
            self._deadline_s = now + 3 * raft.timing.election_timeout_s
            return False
        if raft.role is Role.LEADER and raft.transfer_target is None:
            raise NotInTimeError(f"{self._target} did not catch up; {raft.id} leads on")
        if raft.role is not Role.LEADER and not self._handed_over:
            raise LeadershipLostError(f"{raft.id} ceased to lead before it could hand over to {self._target}")
        if self._handed_over and raft.leader is not None:
            pending.answer(self.to, raft.leader)
            return True
        if now >= self._deadline_s:
            raise NotInTimeError(f"{self._target} was told to stand for election, but nobody leads yet")
        return False


CHANGES: dict[type, Callable[[Any, Any, float], Change]] = {
    AddServer: Joining,
    RemoveServer: Leaving,
    TransferLeadership: Transferring,
}
"""The change that each kind of question begins."""
