"""The trace: one JSON line for each change of role, term, vote, commit and membership, on the machine's own clock.

Every process of one machine reads the same monotonic clock, so the lines of several nodes can be put in one exact
order. Whoever starts the nodes may name an instant that all of them call 0; what the clock read then stands beside. A
line is written in one unbuffered call before the node acts on what it says. So a node killed at any instant leaves a
true trace behind, at worst with half a last line, and the next process begins a new line after that. The records are
defined in `node.raft.transitions` and `node.records`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.raft.transitions import Transition

TIMES = ("at_s", "until_s")
"""The fields of records that are readings of the clock."""


class Trace:
    """Appends to `file`; with no file, does nothing. `zero_s` is the reading of the monotonic clock that its times are
    counted from. Raises OSError when it cannot be written."""

    def __init__(self, file: Path | None, zero_s: float = 0.0) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._zero_s = zero_s
        self._stream = None if file is None else file.open("ab", buffering=0)
        if file is not None and _is_torn(file):
            self._write(b"\n")

    def write(self, records: Iterable[Transition]) -> None:
        if self._stream is not None:
            lines = b"".join(self._line(record) for record in records)
            if lines:
                self._write(lines)

    def _line(self, record: Transition) -> bytes:
        if not self._zero_s:
            return self._encode(record) + b"\n"
        fields = msgspec.structs.asdict(record)
        counted = {name: fields[name] - self._zero_s for name in TIMES if fields.get(name) is not None}
        line = self._encode(msgspec.structs.replace(record, **counted))
        return line[:-1] + b',"monotonic_s":' + self._encode(record.at_s) + b"}\n"

    def _write(self, lines: bytes) -> None:
        """Write them all. A disk with room for a part takes that part, and fails only at the next call."""
        assert self._stream is not None
        while lines:
            lines = lines[self._stream.write(lines) :]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _is_torn(file: Path) -> bool:
    """Whether an earlier process was killed, or ran out of room, in the middle of a line."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        if not stream.seek(0, os.SEEK_END):
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"
