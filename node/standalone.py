"""The store without a cluster (KONSUL_RAFT_ENABLED=false): writes apply at once, and are kept in memory."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from node.machine.kv import Command, KeyValueStore
from node.questions import Answer, Question, Read, Write


class Standalone:
    """What `client_api` needs of a `Driver` to serve /kv."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._index = 0
        self._lock = threading.Lock()

    def ask(self, question: Question) -> Future[Answer]:
        """The answer to a write or a read, at once."""
        future: Future[Answer] = Future()
        with self._lock:
            future.set_result(Answer(None, self._answer(question)))
        return future

    def _answer(self, question: Question) -> object:
        if isinstance(question, Write):
            self._index += 1
            return self._store.apply(self._index, Command.decode(question.command))
        assert isinstance(question, Read), "there is no cluster to change"
        return self._store.get_all(question.keys)
