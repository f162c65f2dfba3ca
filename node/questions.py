"""What a server is asked, what it answers, and what the client may conclude. Values; pure.

An answer is a value or an error. One table, `MEANINGS`, says what each error means, and the HTTP surface and the
simulated one both read it. It has the error's name, by which clients decide, and whether it is certain that nothing has
happened. When that is not certain, the request may have taken effect, or may yet.
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
"""How long a client waits for an answer; for a change, how much longer than the change is tried."""
SNAPSHOT_TIMEOUT_S = 60.0


class Consistency(StrEnum):
    """How fresh a read has to be."""

    DEFAULT = "default"
    """What this server has applied, however old."""
    CONSISTENT = "consistent"
    """Linearizable, by a round of heartbeats (ReadIndex, thesis 6.4)."""
    LEADER = "leader"
    """Linearizable while clocks run at about the same rate, by the leader's lease (thesis 6.4.1)."""


@dataclass(frozen=True)
class Write:
    """Answered with the `Result` of the command, once it is applied."""

    command: bytes
    """`node.machine.kv.Command.encode`."""


@dataclass(frozen=True)
class Read:
    """Answered with the value of each key, None for a key that does not exist."""

    keys: tuple[str, ...]
    consistency: Consistency = Consistency.DEFAULT


@dataclass(frozen=True)
class AddServer:
    """Answered when the server votes."""

    server_id: str
    address: str


@dataclass(frozen=True)
class RemoveServer:
    """Answered when the server is no longer a member."""

    server_id: str


@dataclass(frozen=True)
class TransferLeadership:
    """Answered with the new leader's name, once another server leads."""

    to: str | None = None
    """None means the voter whose log is known to match furthest."""


@dataclass(frozen=True)
class MakeSnapshot:
    """Answered with the index of a snapshot of at least what is applied now, once that snapshot is durable."""


Question = Write | Read | AddServer | RemoveServer | TransferLeadership | MakeSnapshot

PATIENCE_S: dict[type, float] = {
    Write: ANSWER_TIMEOUT_S,
    Read: ANSWER_TIMEOUT_S,
    AddServer: CHANGE_TIMEOUT_S + ANSWER_TIMEOUT_S,
    RemoveServer: CHANGE_TIMEOUT_S + ANSWER_TIMEOUT_S,
    TransferLeadership: CHANGE_TIMEOUT_S + ANSWER_TIMEOUT_S,
    MakeSnapshot: SNAPSHOT_TIMEOUT_S,
}
"""How long a client waits before it is told that there is no answer: TimeoutError in `MEANINGS`."""


class Answer(NamedTuple):
    """What came of a question."""

    to: Any
    """The client to answer, as given with the question."""
    value: Any = None
    error: Exception | None = None
    """One of `MEANINGS`, in place of a value."""
    until_s: float = math.inf
    """On the server's clock. From then on the value may be untrue, and LeadershipLostError takes its place."""
    position: LogPosition | None = None
    """What the value rests on. For a write, where its entry is; for a read, the last entry applied when the value was
    read, but with the server's term."""

    def at(self, now: float) -> Answer:
        """What may be told at this instant."""
        return self if now < self.until_s else Answer(self.to, error=LeadershipLostError("the lease was over"))


class Meaning(NamedTuple):
    status: int
    """The HTTP status."""
    name: str
    """The `error` of the body."""
    certain: bool
    """Whether it is certain that nothing has happened, or will."""


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
"""For each error that may be an answer."""
NOT_LEADER = Meaning(307, "not leader", certain=True)
"""In place of "no leader", where the client can be sent to a leader (`node.web.replies`)."""


def meaning_of(error: Exception) -> Meaning:
    return next(meaning for kind, meaning in MEANINGS.items() if isinstance(error, kind))


REFUSALS: Mapping[Decision, Meaning] = {
    Decision.CONFLICT: Meaning(409, "cas mismatch", certain=True),
    Decision.MISSING: Meaning(404, "key not found", certain=True),
    Decision.SUPERSEDED: Meaning(409, "superseded", certain=False),
}
"""For each decision of the state machine other than done."""
