"""Nothing outlives the bench: how a child dies with it, even by kill -9, even while it is stopped.

* `ParentDeathSignal`: Linux sends a child SIGKILL when the process that forked it ends (PR_SET_PDEATHSIG). Children are
  forked by the forkserver, which ends when the last writer of a pipe is gone. A child inherits the write end of that
  pipe and closes it first; otherwise the children would keep the forkserver alive, and the forkserver the children. The
  signal survives an exec.
* `Announcement`, where there is no such signal: one small process, the reaper, reads a pipe. Only the bench keeps the
  pipe's write end. Each child announces its pid through a copy of that end before it does anything else, and then
  closes the copy. So the end of the pipe, which means that the bench is gone, comes only after every child that must
  die has been announced.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any, Protocol

from faults.foreign import written_for

PR_SET_PDEATHSIG = 1
VARIABLE = "BENCH_LIFELINE"


class NoSuchLifelineError(Exception):
    """BENCH_LIFELINE names no lifeline."""


class Lifeline(Protocol):
    """Handed to a child, which calls `hold` before anything else."""

    def hold(self) -> None: ...


class ParentDeathSignal:
    def hold(self) -> None:
        let_forkserver_end()
        parent = os.getppid()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            os._exit(1)


def let_forkserver_end() -> None:
    """In a child of the forkserver, close the pipe end that keeps the forkserver alive. For Python 3.11 to 3.13."""
    with written_for("the forkserver of Python 3.11 to 3.13"):
        inherited: Any = forkserver._forkserver
        alive_fd: int | None = inherited._forkserver_alive_fd
    if alive_fd is not None:
        os.close(alive_fd)
        inherited._forkserver_alive_fd = None


class Announcement:
    """A child's end of the reaper's pipe."""

    def __init__(self, writer: Connection) -> None:
        self._writer = writer

    def hold(self) -> None:
        self._writer.send_bytes(b"+%d" % os.getpid())
        self._writer.close()


def reap_at_end(reader: Connection) -> None:
    """The reaper: remembers which children were announced, and at the pipe's end kills all that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    alive: set[int] = set()
    with contextlib.suppress(EOFError):
        while True:
            word = reader.recv_bytes()
            change = alive.add if word.startswith(b"+") else alive.discard
            change(int(word[1:]))
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wanted() -> str:
    """``pdeathsig`` or ``pipe``: what BENCH_LIFELINE says, else what this system can do. Raises NoSuchLifelineError."""
    kind = os.environ.get(VARIABLE) or ("pdeathsig" if sys.platform == "linux" else "pipe")
    if kind not in ("pdeathsig", "pipe"):
        raise NoSuchLifelineError(f"{VARIABLE} is {kind!r}; it must be pdeathsig or pipe")
    return kind
