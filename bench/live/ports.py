"""Ports for a cluster: the first free ones, held for as long as the cluster lives.

A port is held twice over. A lock file keeps other benches off, and the kernel releases it when we die. A bound socket
that does not listen keeps all other programs off. With SO_REUSEADDR a node of ours can still bind and listen beside it;
as long as none does, connections are refused, as they must be for a dead node. Without the lock two benches could both
bind before either listens.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import filelock

from faults.links import Address

HOST = "127.0.0.1"
SPAN = 400
"""How far up from a base to look. All bases lie below 32768, from where on the kernel hands out ports by itself."""


class NoFreePortError(Exception):
    """Every port of a range is taken."""


class Ports:
    """Raises NoFreePortError. `close` releases all ports; so does the end of the process, however it comes."""

    def __init__(self) -> None:
        # Not in the state folder, which each bench may have of its own: ports belong to the whole machine.
        self._locks = Path(tempfile.gettempdir()) / f"raft-bench-ports-{os.getuid()}"
        self._locks.mkdir(mode=0o700, exist_ok=True)
        self._held: list[tuple[filelock.BaseFileLock, socket.socket]] = []

    def first_free(self, base: int) -> Address:
        for port in range(base, base + SPAN):
            lock = filelock.FileLock(self._locks / f"port-{port}.lock")
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                continue
            holder = socket.socket()
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind((HOST, port))
            except OSError:
                holder.close()
                lock.release()
                continue
            self._held.append((lock, holder))
            return Address(HOST, port)
        raise NoFreePortError(
            f"ports {base} to {base + SPAN - 1} are all taken; stop what holds them (python -m bench down)"
        )

    def close(self) -> None:
        for lock, holder in self._held:
            holder.close()
            lock.release()
        self._held.clear()
