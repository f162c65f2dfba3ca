"""The one stream into which all nodes of a cluster log, on the clock of their run."""

from __future__ import annotations

import logging
import time
from pathlib import Path

LAST_LINES = 5
LINE = "%(at_s)9.4f %(levelname)-7s %(name)s: %(message)s"


class _OfARun(logging.Formatter):
    """Writes when it was in seconds since `zero_s`, a reading of the monotonic clock."""

    def __init__(self, line: str, zero_s: float) -> None:
        super().__init__(line)
        # Records have the time of day only. It is compared once with the monotonic clock: a run is short.
        self._zero = time.time() - time.monotonic() + zero_s

    def format(self, record: logging.LogRecord) -> str:
        record.at_s = record.created - self._zero
        return super().format(record)


def formatter(zero_s: float) -> logging.Formatter:
    """For one node's own log."""
    return _OfARun(LINE, zero_s)


def new_stream(file: Path, zero_s: float) -> logging.Handler:
    """A handler for records that say which `node` they are from."""
    stream = logging.FileHandler(file)
    stream.setFormatter(_OfARun(f"%(node)-4s {LINE}", zero_s))
    return stream


def end_of(said: str) -> str:
    """Its last lines, where a program that ends says why."""
    return "\n  ".join(said.splitlines()[-LAST_LINES:]) or "nothing"


def say(stream: logging.Handler, words: str) -> None:
    """Log what the bench itself has done, for readers of the nodes' log."""
    record = logging.LogRecord("bench", logging.WARNING, __file__, 0, words, None, None)
    record.node = "-"
    stream.handle(record)
