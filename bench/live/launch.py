"""Starting a node, and gathering what it logs.

A node is `python -m MODULE` run inside a child of the preloaded forkserver: the same command line, without the quarter
of a second in which Python imports. Its log goes to its own file, and through a queue into the cluster's one stream.

The queue is a new `MultiProcessingHandler` for each incarnation. One handler shared by all falls silent after a few
kills: the victim dies holding the queue's lock, and then nobody can log. The write end is closed on our side, so that
the queue ends when the node does.
"""

from __future__ import annotations

import faulthandler
import logging
import logging.handlers
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import multiprocessing_logging

from faults.foreign import replace, written_for
from faults.processes import CONTEXT, SPAWN_LOCK, ManagedProcess, launch, redirect_output

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
DATES = "%H:%M:%S"
GATHER_DEADLINE_S = 2.0

LIBRARY = "multiprocessing-logging 0.4.0"
# The queues that it makes by itself are for forked children only.
replace(multiprocessing_logging, "multiprocessing", CONTEXT, version=LIBRARY)


class _Into(logging.Handler):
    """Hands each record of one node on, with the node's name."""

    def __init__(self, target: logging.Handler, node: str) -> None:
        super().__init__()
        self._target = target
        self._node = node

    def emit(self, record: logging.LogRecord) -> None:
        record.node = self._node
        self._target.handle(record)


class NodeProcess:
    """One incarnation of a node with its log."""

    def __init__(
        self, module: str, name: str, *, env: Mapping[str, str], folder: Path, stream: logging.Handler
    ) -> None:
        with SPAWN_LOCK:
            self._handler: Any = multiprocessing_logging.MultiProcessingHandler(f"log-of-{name}", _Into(stream, name))
            self.process: ManagedProcess = launch(
                run_module, (module, dict(env), folder, self._handler.queue), name=name
            )
            close_write_end(self._handler.queue)

    def tell_stacks(self) -> None:
        """Have it write every thread's stack to its stdout.log, for whoever wonders why it says nothing."""
        os.kill(self.process.pid, signal.SIGUSR1)

    def ended(self) -> None:
        """To be called when the process is dead: takes in what it had still logged."""
        await_the_last(self._handler, GATHER_DEADLINE_S)
        self._handler.close()


def close_write_end(queue: Any) -> None:
    """Write no more to `queue`, so that it ends with its last writer. Written for Python 3.11 to 3.13."""
    with written_for("the multiprocessing.Queue of Python 3.11 to 3.13"):
        writer = queue._writer
    writer.close()


def await_the_last(handler: Any, timeout_s: float) -> bool:
    """Wait until the handler has taken in all that its queue had; whether it has. Written for 0.4.0 of its library."""
    with written_for(LIBRARY):
        receiver = handler._receive_thread
    receiver.join(timeout_s)
    return not receiver.is_alive()


def run_module(module: str, env: dict[str, str], folder: Path, queue: Any) -> None:
    """In the child: be ``python -m module`` with exactly this environment."""
    redirect_output(folder / "stdout.log")
    faulthandler.register(signal.SIGUSR1)
    os.environ.clear()
    os.environ.update(env)
    file = logging.FileHandler(folder / "node.log")
    file.setFormatter(logging.Formatter(FORMAT, DATES))
    logging.getLogger().handlers[:] = [file, logging.handlers.QueueHandler(queue)]
    sys.argv[:] = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def new_stream(file: Path, on_line: Callable[[str], None] | None) -> logging.Handler:
    """Where all nodes' records come together: one file, and whoever listens."""
    handlers: list[logging.Handler] = [logging.FileHandler(file)]
    if on_line is not None:
        handlers.append(_Told(on_line))
    stream = _All(handlers)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(f"%(node)-4s {FORMAT}", DATES))
    return stream


class _All(logging.Handler):
    def __init__(self, handlers: list[logging.Handler]) -> None:
        super().__init__()
        self._handlers = handlers

    def emit(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            handler.handle(record)

    def close(self) -> None:
        for handler in self._handlers:
            handler.close()
        super().close()


class _Told(logging.Handler):
    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__()
        self._on_line = on_line

    def emit(self, record: logging.LogRecord) -> None:
        self._on_line(self.format(record))
