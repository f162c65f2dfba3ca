"""What happened: a digest over every event, and the last events for a reader."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from bench.simulated import words

LAST = 2000
FEW = 3
"""More heartbeats in a row are told as one."""
BUFFER_BYTES = 1 << 16
DECIMALS = 6
"""Of a second. Events closer together than this count as simultaneous and stay in the order in which they were noted. A
reading of a node's clock turns back into the world's time with a rounding error, which could put an answer before the
message that it answers."""

Happening = tuple[float, str, Any]
"""The world's time, whom it happened to, and what: anything that `words.happening` can put in words."""


class Chronicle:
    """Two runs with the same digest were the same run, byte for byte."""

    __slots__ = ("_buffer", "_encode", "_hash", "last")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[Happening] = deque(maxlen=LAST)

    def note(self, happening: Happening, told: object = None) -> None:
        """Take this into the digest; `told` is shown to readers in its place."""
        self.last.append(happening if told is None else (happening[0], happening[1], told))
        buffer = self._buffer
        self._encode(happening, buffer, len(buffer))
        if len(buffer) > BUFFER_BYTES:
            self._hash.update(buffer)
            buffer.clear()

    def remark(self, at_s: float, who: str, words: str) -> None:
        """For readers only: the digest has what follows from this."""
        self.last.append((at_s, who, words))

    def digest(self) -> str:
        """The digest of everything noted so far."""
        self._hash.update(self._buffer)
        self._buffer.clear()
        return self._hash.hexdigest()

    def words(self, count: int = LAST) -> list[str]:
        """The last happenings, one a line, in the order of the world's time. A transition is noted once it is durable,
        or when a paused node resumes; later events may have been noted before it. What repeats at the same instant, as
        on a link that held messages back, is told once, with a count, and so are heartbeats that follow one another."""
        told = sorted(self.last, key=lambda happening: round(happening[0], DECIMALS))
        lines = (line for quiet, some in itertools.groupby(told, _is_quiet) for line in _lines(quiet, list(some)))
        return [_times(line, sum(1 for _ in again)) for line, again in itertools.groupby(lines)][-count:]


def _is_quiet(happening: Happening) -> bool:
    return words.is_heartbeat(happening[2])


def _lines(quiet: bool, happenings: list[Happening]) -> Iterator[str]:
    (first_s, *_), (last_s, *_) = happenings[0], happenings[-1]
    if quiet and len(happenings) > FEW:
        until = f"until {last_s:.{DECIMALS}f}"
        yield f"{first_s:10.{DECIMALS}f}  {len(happenings)} heartbeats and answers {until}"
        return
    yield from (f"{at_s:10.{DECIMALS}f}  {words.happening(who, what)}" for at_s, who, what in happenings)


def _times(line: str, count: int) -> str:
    return line if count == 1 else f"{line} ({count} times)"
