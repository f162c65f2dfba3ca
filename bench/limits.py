"""A limit on how long a block of code may run, by the clock on the wall, whatever the block does meanwhile.

A story is a person's own code: it may sleep for a week, wait for an event that nobody sets, or turn in a loop. A thread
beside it looks at the clock and then strikes the main thread with a signal, whose handler raises. So what the main
thread does is interrupted where Python can be interrupted: in a sleep, in waiting for a lock, an answer or a process,
and between any two lines.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

SIGNAL = signal.SIGUSR2
"""Timers and their SIGALRM are pytest-timeout's."""
AGAIN_S = 1.0
"""So long after a strike the next one comes, as long as the block goes on."""
GRACE_S = 30.0
"""So long nothing disturbs what the block does on its way out: it stops clients and heals links."""


class LimitReachedError(BaseException):
    """The block ran for longer than it may. As an interrupt from the keyboard this is no `Exception`, so that nobody
    handles it who means to handle what a node or a network did."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise LimitReachedError in the block once it has run for so long, and after it too if the block kept that to
    itself. A block that swallows it and goes on is struck again every second.

    Does nothing outside of the main thread, since signals are handled in that one alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main = threading.main_thread().ident or 0
    reached, ended = threading.Event(), threading.Event()
    patience_ends_s = time.monotonic() + seconds + GRACE_S

    def strike() -> None:
        if ended.wait(min(seconds, threading.TIMEOUT_MAX)):
            return
        reached.set()
        while not ended.is_set():
            signal.pthread_kill(main, SIGNAL)
            ended.wait(AGAIN_S)

    def struck(*_: object) -> None:
        disturbs = not _on_its_way_out() or time.monotonic() > patience_ends_s
        if reached.is_set() and not ended.is_set() and disturbs:
            raise LimitReachedError(words)

    words = f"still running after {seconds:g} s"
    watch = threading.Thread(target=strike, name="time limit", daemon=True)
    former = signal.signal(SIGNAL, struck)
    try:
        try:
            watch.start()
            yield
        finally:
            # A strike that comes before this is done is on its way out below, where none disturbs it.
            ended.set()
    except (Exception, SystemExit) as other:
        if reached.is_set():
            raise LimitReachedError(words).with_traceback(other.__traceback__) from other
        raise
    finally:
        ended.set()
        watch.join()
        signal.signal(SIGNAL, former)
    if reached.is_set():
        raise LimitReachedError(words)


def _on_its_way_out() -> bool:
    """Whether somebody is handling a LimitReachedError now, or what went wrong while they did."""
    error = sys.exception()
    while error is not None and not isinstance(error, LimitReachedError):
        error = error.__context__
    return error is not None
