"""Raft, and nothing else: no clock, thread, socket, file or global random lives in this folder.

The idea
--------
`Raft` is a value that is told things and asked what follows. Its owner tells it through `Raft.receive` (a message
arrived), `Raft.tick` (time passed), `Raft.propose` (a client wants a command in the log), `Raft.read`, `Raft.join`,
`Raft.leave`, `Raft.transfer_leadership` and `Raft.compact`. The owner then calls `Raft.take_effects`, which says what
to make durable, what to send, what to apply, which reads may be answered, and what changed. Nothing happens in between,
so the same code runs under a driver thread with a disk and sockets, and in virtual time under a seed.

The rules
---------
1. *Save before you send.* The owner makes `Effects.hard_state`, `snapshot` and `entries` durable before it sends any of
   `Effects.messages` and before it applies any of `Effects.committed`. The core counts its own entries as stored on
   that promise.
2. *Time is an argument.* `now` is seconds on any monotonic clock. `Raft.deadline` says when `tick` is next due. The
   only random numbers come from the generator given to the constructor.
3. *A term is settled before any role logic* (§5.1): `receive` looks at the term first, and only then at the role.
4. *A role changes in `_become_follower`, `_become_pre_candidate`, `_become_candidate`, `_become_leader`*, nowhere else.
5. *A safety rule is a small method with a name*, in `rules`. Each cites its section. To break Raft is to override one
   of them, and `node.flaws` does that to see whether the bench notices.
6. *Nothing from the wire is trusted.* A message that no correct peer could send raises `ProtocolViolationError` before
   anything has changed. Our own mistakes fail assertions.

The promise in time
-------------------
Raft promises one leader per term. This core also promises what an operator asks for: no two nodes ever report
themselves leader at the same instant. A voter that heard from a leader, or gave its vote, refuses every other candidate
for `heartbeat_timeout_s` (thesis 4.2.3). A leader counts its lease from the instant at which it *sent* the message that
a majority answered, and stops being leader when `leader_lease_timeout_s` has passed since. The lease is no longer than
the refusal and starts earlier, so it has run out before any majority can elect another leader. Counting from the
receipt of the answer breaks this: a leader stopped for four seconds wakes, finds old answers in its socket, and
believes in itself for another lease while its successor already leads.

A leader that hands over keeps the promise too: it steps down first, and only then tells its successor to stand.

The way through
---------------
Values: `messages` (what is sent), `effects` (what follows), `transitions` (what changed), `log`, `snapshot`,
`membership`, `progress`, and `quorum` (arithmetic). The server is built in layers, each a class over the one before:
`state`, `rules`, `elections`, then `following` and `leading`, and `core` with `Raft` itself, which the owner uses.
"Raft" or a bare § means the extended paper by Ongaro and Ousterhout (2014), "thesis" means Ongaro's (2014).
"""

from node.raft.core import FROM_LEADERS, Raft
from node.raft.effects import Effects, LogPosition, ReadReady
from node.raft.errors import (
    MembershipChangeError,
    NotLeaderError,
    ProtocolViolationError,
    TransferError,
    TransferInProgressError,
)
from node.raft.log import Log
from node.raft.membership import Configuration, Member, Suffrage
from node.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from node.raft.settings import FlowLimits, Timing
from node.raft.snapshot import Snapshot, SnapshotMeta
from node.raft.transitions import Role, Transition

__all__ = [
    "FROM_LEADERS",
    "AppendEntries",
    "AppendEntriesResponse",
    "Configuration",
    "Effects",
    "Entry",
    "EntryKind",
    "FlowLimits",
    "HardState",
    "InstallSnapshot",
    "InstallSnapshotResponse",
    "Log",
    "LogPosition",
    "Member",
    "MembershipChangeError",
    "Message",
    "NotLeaderError",
    "PreVote",
    "PreVoteResponse",
    "ProtocolViolationError",
    "Raft",
    "ReadReady",
    "RequestVote",
    "RequestVoteResponse",
    "Role",
    "Snapshot",
    "SnapshotMeta",
    "Suffrage",
    "TimeoutNow",
    "Timing",
    "TransferError",
    "TransferInProgressError",
    "Transition",
]
