"""What happened: a digest over every event, and the last of them to be read."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from typing import Any

import msgspec

from bench.simulated import words

LAST = 400
BUFFER_BYTES = 1 << 16
DECIMALS = 6
"""Of a second: what is less apart is simultaneous, and stays as it was noted. A node's reading of its own clock comes
back from it with a rounding error, and would come before the message that it is the answer to."""

Happening = tuple[float, str, Any]
"""The world's time, to whom, and what: anything that `words.happening` has words for."""


class Chronicle:
    """Two runs with one digest were the same run, byte for byte."""

    __slots__ = ("_buffer", "_encode", "_hash", "last")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[Happening] = deque(maxlen=LAST)

    def note(self, happening: Happening, told: object = None) -> None:
        """`told` is what is to be read later in the place of what goes into the digest."""
        self.last.append(happening if told is None else (happening[0], happening[1], told))
        buffer = self._buffer
        self._encode(happening, buffer, len(buffer))
        if len(buffer) > BUFFER_BYTES:
            self._hash.update(buffer)
            buffer.clear()

    def remark(self, at_s: float, who: str, words: str) -> None:
        """For whoever reads; the digest knows it already by what follows from it."""
        self.last.append((at_s, who, words))

    def digest(self) -> str:
        """Of everything noted up to now."""
        self._hash.update(self._buffer)
        self._buffer.clear()
        return self._hash.hexdigest()

    def words(self, count: int = LAST) -> list[str]:
        """The last happenings, one a line, in the order in which they happened by the world's time. A transition is
        heard of once it is durable, or when a node that was stopped wakes; others may have gone on meanwhile. What
        happens again at the same instant, as on a link that held messages back, is told once, with how often."""
        told = sorted(self.last, key=lambda happening: round(happening[0], DECIMALS))
        lines = (f"{at_s:10.{DECIMALS}f}  {words.happening(who, what)}" for at_s, who, what in told)
        return [_times(line, sum(1 for _ in again)) for line, again in itertools.groupby(lines)][-count:]


def _times(line: str, count: int) -> str:
    return line if count == 1 else f"{line} ({count} times)"
