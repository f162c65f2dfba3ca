"""The trace: one JSON line for each change of role, term, vote, commit and membership, on the machine's own clock.

Every process of one machine reads the same monotonic clock, so the lines of several nodes can be put in one exact
order. A line is written in one unbuffered call before the node acts on what it says: a node killed at any instant
leaves a true trace behind, at worst without its last line. What the lines are is in `node.raft.transitions` and
`node.records`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.raft.transitions import Transition


class Trace:
    """Appends to `file`; with no file, does nothing. Raises OSError when it cannot be written."""

    def __init__(self, file: Path | None) -> None:
        self._encoder = msgspec.json.Encoder()
        self._stream = None if file is None else file.open("ab", buffering=0)

    def write(self, records: Iterable[Transition]) -> None:
        if self._stream is not None:
            lines = b"".join(self._encoder.encode(record) + b"\n" for record in records)
            if lines:
                self._stream.write(lines)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
