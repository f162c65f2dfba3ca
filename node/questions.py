"""What a server is asked, what it answers, and what whoever asked may believe. Values; pure.

An answer is a value or an error, and what an error means is in one table (`MEANINGS`), which the HTTP surface and the
simulated one both read: its name, which is what clients decide by, and whether it is certain that nothing has happened.
A question that was told anything else may have taken effect, or may yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from node.errors import (
    LeadershipLostError,
    NothingToSnapshotError,
    NotInTimeError,
    OverwrittenError,
    StoppingError,
)
from node.machine.kv import Decision
from node.raft import LogPosition, MembershipChangeError, NotLeaderError, TransferError, TransferInProgressError

CHANGE_TIMEOUT_S = 10.0
"""How long a change of membership is tried."""
ANSWER_TIMEOUT_S = 5.0
"""How long whoever asked waits for an answer, and for that of a change after it was given up."""
SNAPSHOT_TIMEOUT_S = 60.0


class Consistency(StrEnum):
    """How fresh a read has to be."""

    DEFAULT = "default"
    """What this server has applied, however old."""
    CONSISTENT = "consistent"
    """Linearizable, by a round of heartbeats (ReadIndex, thesis 6.4)."""
    LEADER = "leader"
    """Linearizable while clocks run about alike, by the leader's lease (thesis 6.4.1)."""


@dataclass(frozen=True)
class Write:
    """Answered with the `Result` of the command, once it is applied."""

    command: bytes
    """`node.machine.kv.Command.encode`."""


@dataclass(frozen=True)
class Read:
    """Answered with what is at each of the keys, None for one that is not there."""

    keys: tuple[str, ...]
    consistency: Consistency = Consistency.DEFAULT


@dataclass(frozen=True)
class AddServer:
    """Answered when the server votes."""

    server_id: str
    address: str


@dataclass(frozen=True)
class RemoveServer:
    """Answered when the server is no member any more."""

    server_id: str


@dataclass(frozen=True)
class TransferLeadership:
    """Answered with who leads, once another does; None is whoever is furthest."""

    to: str | None = None


@dataclass(frozen=True)
class MakeSnapshot:
    """Answered with the index of a snapshot of at least what is applied now, once it is durable."""


Question = Write | Read | AddServer | RemoveServer | TransferLeadership | MakeSnapshot

PATIENCE_S: dict[type, float] = {
    Write: ANSWER_TIMEOUT_S,
    Read: ANSWER_TIMEOUT_S,
    AddServer: CHANGE_TIMEOUT_S + ANSWER_TIMEOUT_S,
    RemoveServer: CHANGE_TIMEOUT_S + ANSWER_TIMEOUT_S,
    TransferLeadership: CHANGE_TIMEOUT_S + ANSWER_TIMEOUT_S,
    MakeSnapshot: SNAPSHOT_TIMEOUT_S,
}
"""After how long whoever asked is told that there is no answer: TimeoutError in `MEANINGS`."""


class Answer(NamedTuple):
    """What came of a question."""

    to: Any
    """What was put beside the question: whom to tell."""
    value: Any = None
    error: Exception | None = None
    """One of `MEANINGS`, in the place of a value."""
    until_s: float = math.inf
    """By the server's clock: handed out then or later it may be untrue, and LeadershipLostError stands in its place."""
    position: LogPosition | None = None
    """What the value rests on: where the write stands that was asked for, or what was applied when the value was read,
    in which case the term is that of the server."""

    def at(self, now: float) -> Answer:
        """What may be told at this instant."""
        return self if now < self.until_s else Answer(self.to, error=LeadershipLostError("the lease was over"))


class Meaning(NamedTuple):
    status: int
    """Over HTTP."""
    name: str
    """The `error` of the body."""
    certain: bool
    """Whether nothing has happened, nor will."""


MEANINGS: Mapping[type[Exception], Meaning] = {
    NotLeaderError: Meaning(503, "no leader", certain=True),
    TimeoutError: Meaning(504, "timeout", certain=False),
    LeadershipLostError: Meaning(503, "leadership lost", certain=False),
    OverwrittenError: Meaning(503, "overwritten", certain=True),
    StoppingError: Meaning(503, "stopping", certain=True),
    TransferInProgressError: Meaning(503, "transferring", certain=True),
    MembershipChangeError: Meaning(400, "bad request", certain=True),
    TransferError: Meaning(400, "bad request", certain=True),
    NotInTimeError: Meaning(504, "not in time", certain=False),
    NothingToSnapshotError: Meaning(409, "nothing to snapshot", certain=True),
}
"""Of each error that may be an answer. Who knows another leader says so instead of "no leader": see `NOT_LEADER`."""
NOT_LEADER = Meaning(307, "not leader", certain=True)


def meaning_of(error: Exception, *, leader_known: bool) -> Meaning:
    """`leader_known` is whether whoever asked can be sent to a leader."""
    if isinstance(error, NotLeaderError) and leader_known:
        return NOT_LEADER
    return next(meaning for kind, meaning in MEANINGS.items() if isinstance(error, kind))


REFUSALS: Mapping[Decision, Meaning] = {
    Decision.CONFLICT: Meaning(409, "cas mismatch", certain=True),
    Decision.MISSING: Meaning(404, "key not found", certain=True),
    Decision.SUPERSEDED: Meaning(409, "superseded", certain=False),
}
"""Of what a state machine says instead of done."""
