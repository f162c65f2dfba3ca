"""The store without a cluster (KONSUL_RAFT_ENABLED=false): writes apply at once, and live in memory."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from node.machine.kv import Command, KeyValueStore, Result


class Standalone:
    """What `client_api` needs of a `Driver` to serve /kv."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._index = 0
        self._lock = threading.Lock()

    def write(self, command: Command) -> Future[Result]:
        future: Future[Result] = Future()
        with self._lock:
            self._index += 1
            future.set_result(self._store.apply(self._index, command))
        return future

    def confirm_read(self) -> Future[None]:
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def lease_read(self) -> Future[None]:
        return self.confirm_read()
