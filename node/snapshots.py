"""`Snapshots`: when one is due, and how it is taken while writes go on.

    driver's thread   copy the state (cheap: values are never changed in place) -> ... rounds ... -> keep it, compact
    another thread                                            encode and write line by line -> sync -> hand back

Compacting the stored log is done in portions, one a round, so that no write waits for the deletion of ten thousand
rows. A disk that fails here fails the node, as it does anywhere: the error is raised on the driver's thread.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from node.config import SnapshotPolicy
from node.disk.storage import Storage
from node.errors import NothingToSnapshotError
from node.machine.state_machine import Frozen, StateMachine
from node.meters import Meters
from node.pending import Pending
from node.raft import Raft, Snapshot, SnapshotMeta

ROWS_PER_ROUND = 500

log = logging.getLogger(__name__)


class Snapshots:
    """Belongs to the driver's thread. `hand_back` puts something in the driver's inbox."""

    def __init__(
        self,
        raft: Raft,
        *,
        machine: StateMachine,
        storage: Storage,
        policy: SnapshotPolicy,
        meters: Meters,
        pending: Pending,
        hand_back: Callable[[Callable[[float], None]], None],
    ) -> None:
        self._raft = raft
        self._machine = machine
        self._storage = storage
        self._policy = policy
        self._meters = meters
        self._pending = pending
        self._hand_back = hand_back
        self._thread: threading.Thread | None = None
        self._due_s = time.monotonic() + policy.interval_s
        self._first_kept = 1
        self._compacting = False
        self._asked: list[Future[int]] = []
        self._served: list[Future[int]] = []
        """Who asked before the one under way began."""

    @property
    def index(self) -> int:
        """The last entry that the newest snapshot stands for; 0 is none."""
        return self._raft.snapshot.meta.index if self._raft.snapshot else 0

    @property
    def deadline(self) -> float:
        """When `proceed` is next to be called, if nothing else happens."""
        if self._compacting:
            return -math.inf
        if self._thread is not None or self._raft.last_applied == self.index:
            return math.inf
        return self._due_s

    def ask(self, future: Future[int], now: float) -> None:
        """Take one now; `future` gets its index."""
        self._asked.append(future)

    def proceed(self, now: float) -> None:
        """To be called when a round's entries have been applied: what was handed out is then what the state holds."""
        if self._compacting:
            self._compacting = self._storage.compact(self._first_kept, at_most=ROWS_PER_ROUND)
        if self._thread is None and (self._asked or self._is_due(now)):
            self._begin(now)

    def close(self) -> None:
        """Wait for the one under way; whoever waits for one is told that there will be none."""
        if self._thread is not None:
            self._thread.join()
        for future in [*self._asked, *self._served]:
            self._pending.refuse(future, NothingToSnapshotError("the node is going down"))

    def _is_due(self, now: float) -> bool:
        new = self._raft.last_applied - self.index
        return new >= self._policy.threshold or (new > 0 and now >= self._due_s)

    def _begin(self, now: float) -> None:
        self._due_s = now + self._policy.interval_s
        self._served, self._asked = self._asked, []
        if self._raft.last_applied == self.index:
            self._answer_served()
            return
        meta, frozen = self._raft.describe_snapshot(), self._machine.freeze()
        self._thread = threading.Thread(target=self._take, args=(meta, frozen), name="snapshot")
        self._thread.start()

    def _take(self, meta: SnapshotMeta, frozen: Frozen) -> None:
        began_s = time.monotonic()
        try:
            snapshot = self._storage.write_snapshot(meta, frozen.lines())
        except (OSError, ValueError) as error:
            # A file that is not what was written to it is a disk that fails, like one that cannot be written.
            reason = error
            self._hand_back(lambda now: self._fail(reason))
        else:
            self._meters.snapshot_s.observe(time.monotonic() - began_s)
            self._hand_back(lambda now: self._keep(snapshot))

    def _fail(self, error: Exception) -> None:
        raise error

    def _keep(self, snapshot: Snapshot) -> None:
        self._thread = None
        self._meters.snapshots.inc()
        log.info("took a snapshot at %d, %d bytes", snapshot.meta.index, len(snapshot.data))
        first_kept = self._storage.keep_snapshot(snapshot, trailing_logs=self._policy.trailing_logs)
        self._first_kept = max(self._first_kept, first_kept)
        self._raft.compact(snapshot, first_kept=self._first_kept)
        self._compacting = True
        self._answer_served()

    def _answer_served(self) -> None:
        for future in self._served:
            if self.index:
                self._pending.answer(future, self.index)
            else:
                self._pending.refuse(future, NothingToSnapshotError("nothing has been applied yet"))
        self._served = []
