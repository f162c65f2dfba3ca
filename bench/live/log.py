"""The one stream into which all nodes of a cluster log."""

from __future__ import annotations

import logging
from pathlib import Path

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
DATES = "%H:%M:%S"


def new_stream(file: Path) -> logging.Handler:
    """A handler for records that say which `node` they are from."""
    stream = logging.FileHandler(file)
    stream.setFormatter(logging.Formatter(f"%(node)-4s {FORMAT}", DATES))
    return stream


def say(stream: logging.Handler, words: str) -> None:
    """Log what the bench itself has done, for readers of the nodes' log."""
    record = logging.LogRecord("bench", logging.WARNING, __file__, 0, words, None, None)
    record.node = "-"
    stream.handle(record)
