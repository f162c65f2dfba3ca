"""Starting a node that is a Python module, and gathering what it logs.

A node is `python -m MODULE`, run inside a child of the preloaded forkserver (`early`): the same command line, without
the quarter of a second that Python's imports take. Its log goes to its own file, and through a queue into the cluster's
one stream.

Each incarnation has a new `MultiProcessingHandler` as its queue. A handler shared by all falls silent after a few
kills: a node that is killed while it holds the queue's lock leaves nobody able to log. The write end is closed on our
side, so that the queue ends when the node does.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import logging.handlers
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import multiprocessing_logging

from bench.live.log import formatter
from faults.foreign import replace, written_for
from faults.processes import CONTEXT, SPAWN_LOCK, ManagedProcess, launch, redirect_output

GATHER_DEADLINE_S = 2.0

LIBRARY = "multiprocessing-logging 0.4.0"
# By itself it makes queues for forked children only.
replace(multiprocessing_logging, "multiprocessing", CONTEXT, version=LIBRARY)


class _Into(logging.Handler):
    """Passes on each record of one node, with the node's name."""

    def __init__(self, target: logging.Handler, node: str) -> None:
        super().__init__()
        self._target = target
        self._node = node

    def emit(self, record: logging.LogRecord) -> None:
        record.node = self._node
        self._target.handle(record)


class NodeProcess:
    """One incarnation of a node (`bench.systems.protocol.Running`), whose output and log are in `folder`. The times in
    its log are counted from `zero_s`, a reading of the monotonic clock."""

    def __init__(
        self,
        module: str,
        name: str,
        *,
        env: Mapping[str, str],
        folder: Path,
        stream: logging.Handler,
        zero_s: float,
    ) -> None:
        self._output = folder / "stdout.log"
        self._printed_before = self._output.stat().st_size if self._output.exists() else 0
        """How many bytes earlier incarnations printed."""
        with SPAWN_LOCK:
            self._handler: Any = multiprocessing_logging.MultiProcessingHandler(f"log-of-{name}", _Into(stream, name))
            log = (folder / "node.log", zero_s)
            arguments = (module, dict(env), self._output, log, self._handler.queue)
            self.process: ManagedProcess = launch(run_module, arguments, name=name)
            close_write_end(self._handler.queue)

    def tell_stacks(self) -> None:
        """Have it write every thread's stack to its output, to show why it says nothing."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)

    def printed(self) -> str:
        if not self._output.exists():
            return ""
        return self._output.read_bytes()[self._printed_before :].decode(errors="replace")

    def ended(self) -> None:
        """Call this once the process is dead: takes in the rest of its log."""
        await_the_last(self._handler, GATHER_DEADLINE_S)
        self._handler.close()


def close_write_end(queue: Any) -> None:
    """Write no more to `queue`, so that it ends with its last writer. Written for Python 3.11 to 3.13."""
    with written_for("the multiprocessing.Queue of Python 3.11 to 3.13"):
        writer = queue._writer
    writer.close()


def await_the_last(handler: Any, timeout_s: float) -> bool:
    """Wait until the handler has taken in all that its queue had; returns whether it has. Written for 0.4.0 of its
    library."""
    with written_for(LIBRARY):
        receiver = handler._receive_thread
    receiver.join(timeout_s)
    return not receiver.is_alive()


def run_module(module: str, env: dict[str, str], output: Path, log: tuple[Path, float], queue: Any) -> None:
    """In the child: be ``python -m module`` with exactly this environment. `log` is its file, and what its times are
    counted from."""
    redirect_output(output)
    faulthandler.register(signal.SIGUSR1)
    os.environ.clear()
    os.environ.update(env)
    file = logging.FileHandler(log[0])
    file.setFormatter(formatter(log[1]))
    logging.getLogger().handlers[:] = [file, logging.handlers.QueueHandler(queue)]
    # It was, on purpose: that is why the node starts quickly.
    warnings.filterwarnings("ignore", ".* found in sys.modules after import of package", RuntimeWarning)
    sys.argv[:] = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
