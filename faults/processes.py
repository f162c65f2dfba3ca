"""Child processes, one incarnation each: started through a preloaded forkserver, killed, stopped, continued.

The forkserver has imported what a node needs before the first node starts, so a node costs a fork. Children ignore
SIGINT and SIGHUP: what a terminal sends goes to its whole foreground group, but the bench decides how a node dies.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from faults import lifeline
from faults.lifeline import Announcement, Lifeline, ParentDeathSignal
from faults.signals import handled

CONTEXT = multiprocessing.get_context("forkserver")
SPAWN_LOCK = threading.RLock()
"""Held while a child is started, so that no other child inherits what is opened for it."""

STOP_DEADLINE_S = 5.0
FROM_TERMINALS = (signal.SIGINT, signal.SIGHUP)
"""What a terminal sends to its whole foreground group."""


def preload(modules: Sequence[str]) -> None:
    """Start the forkserver now, importing `modules`; does not wait for it. What a terminal sends, it ignores."""
    CONTEXT.set_forkserver_preload(["faults.processes", *modules])
    with _terminals_ignored():
        forkserver.ensure_running()


def launch(target: Callable[..., None], args: tuple[Any, ...], *, name: str) -> ManagedProcess:
    """Run `target(*args)`, an importable function, in a child of its own that dies with this process."""
    with SPAWN_LOCK, _terminals_ignored():
        held, announced = _lifeline()
        process = CONTEXT.Process(target=_child, args=(held, target, args), name=name, daemon=True)
        process.start()
        return ManagedProcess(process, announced)


def launch_program(argv: Sequence[str], *, env: Mapping[str, str], output: Path, name: str) -> ManagedProcess:
    """Run a program with exactly this environment, its output appended to `output`."""
    return launch(_execute, (list(argv), dict(env), output), name=name)


class ManagedProcess:
    """One incarnation of a child."""

    def __init__(self, process: Any, announced: Connection | None) -> None:
        self._process = process
        self._announced = announced
        self._reaped = False

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert isinstance(pid, int)
        return pid

    @property
    def alive(self) -> bool:
        return bool(self._process.is_alive())

    @property
    def exit_code(self) -> int | None:
        code = self._process.exitcode
        return None if code is None else int(code)

    @property
    def paused(self) -> bool:
        try:
            return self.alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def kill(self) -> None:
        """kill -9; the process is dead and reaped on return, even if it was stopped."""
        self._signal(signal.SIGKILL)
        self.join()

    def pause(self) -> None:
        """SIGSTOP; the process no longer runs on return."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_DEADLINE_S
        while not self.paused:
            if not self.alive or time.monotonic() > deadline:
                raise ProcessLookupError(f"{self._process.name} is not running, so it cannot be paused")
            time.sleep(0.001)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self, grace_s: float = STOP_DEADLINE_S) -> None:
        """SIGTERM, and after `grace_s` SIGKILL."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        self._process.join(grace_s)
        self.kill()

    def join(self, timeout_s: float | None = None) -> None:
        self._process.join(timeout_s)
        if not self.alive and not self._reaped and self._announced is not None:
            self._announced.send_bytes(b"-%d" % self.pid)
        self._reaped = not self.alive

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def wipe(folder: Path, root: Path) -> None:
    """Delete `folder` and all in it. Raises ValueError unless it lies inside `root`."""
    if root.resolve() not in folder.resolve().parents:
        raise ValueError(f"{folder} is not inside {root}, so it is not wiped")
    if folder.exists():
        shutil.rmtree(folder)


def copy(folder: Path, to: Path, root: Path) -> None:
    """Make `to` a copy of `folder`, whatever it was before. Raises ValueError unless it lies inside `root`."""
    wipe(to, root)
    shutil.copytree(folder, to, symlinks=True)


def _child(held: Lifeline, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    held.hold()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in FROM_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    target(*args)


def _execute(argv: list[str], env: dict[str, str], output: Path) -> None:
    redirect_output(output)
    os.execve(argv[0], argv, env)


def redirect_output(output: Path) -> None:
    """Append this process's stdout and stderr to `output`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


_reaper: list[Connection] = []


def _lifeline() -> tuple[Lifeline, Connection | None]:
    """A child's lifeline, and where to announce the child's end."""
    if lifeline.wanted() == "pdeathsig":
        return ParentDeathSignal(), None
    if not _reaper:
        reader, writer = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=lifeline.reap_at_end, args=(reader,), name="reaper")
        process.start()
        reader.close()
        _reaper.append(writer)
        # Registered after multiprocessing's own handler and so run first: that one waits for the reaper, which waits
        # for this.
        atexit.register(writer.close)
    return Announcement(_reaper[0]), _reaper[0]


def _terminals_ignored() -> contextlib.AbstractContextManager[None]:
    """What starts in this block inherits FROM_TERMINALS ignored. Only the main thread may change a handler."""
    if threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext()
    return handled(FROM_TERMINALS, signal.SIG_IGN)
