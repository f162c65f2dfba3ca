"""A limit on how long a block of code may run, in wall-clock time, whatever the block does meanwhile.

A story is a user's own code: it may sleep for a week, wait for an event that nobody sets, or loop for ever. A second
thread watches the clock, and then sends the main thread a signal whose handler raises. So the main thread is
interrupted wherever Python can be interrupted: in a sleep, in a wait for a lock, an answer or a process, and between
any two lines.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

SIGNAL = signal.SIGUSR2
"""Not SIGALRM, which pytest-timeout uses."""
AGAIN_S = 1.0
"""How long after one signal the next one comes, as long as the block goes on."""
GRACE_S = 30.0
"""How long nothing interrupts the block on its way out, where it stops clients and heals links."""


class LimitReachedError(BaseException):
    """The block ran for longer than it may. Like KeyboardInterrupt, this is not an `Exception`, so that code that
    handles errors of nodes or the network does not catch it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise LimitReachedError in the block once it has run for this long, and after the block too if it swallowed the
    error. A block that swallows it and goes on is interrupted again every second.

    Does nothing outside the main thread, since signals are handled only there.
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
            # A signal that interrupts this line is handled below, where no further one interrupts.
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
    """Whether a LimitReachedError is being handled now, or an error raised while handling one."""
    error = sys.exception()
    while error is not None and not isinstance(error, LimitReachedError):
        error = error.__context__
    return error is not None
