"""What happened: a digest over every event, and the last of them to be read."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

import msgspec

LAST = 400
BUFFER_BYTES = 1 << 16

Happening = tuple[float, str, Any]
"""The world's time, to whom, and what: a message delivered, a transition, or words."""


class Chronicle:
    """Two runs with one digest were the same run, byte for byte."""

    __slots__ = ("_buffer", "_encode", "_hash", "last")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[Happening] = deque(maxlen=LAST)

    def note(self, happening: Happening) -> None:
        self.last.append(happening)
        buffer = self._buffer
        self._encode(happening, buffer, len(buffer))
        if len(buffer) > BUFFER_BYTES:
            self._hash.update(buffer)
            buffer.clear()

    def digest(self) -> str:
        """Of everything noted up to now."""
        self._hash.update(self._buffer)
        self._buffer.clear()
        return self._hash.hexdigest()

    def words(self, count: int = LAST) -> list[str]:
        """The last happenings, one a line."""
        return [f"{at_s:10.6f}  {who:6} {in_words(what)}" for at_s, who, what in list(self.last)[-count:]]


def in_words(what: object) -> str:
    if not isinstance(what, msgspec.Struct):
        return str(what)
    fields = ((name, getattr(what, name)) for name in what.__struct_fields__)
    told = [f"{name}={_value(value)}" for name, value in fields if name not in ("at_s", "recipient")]
    return " ".join([type(what).__name__, *told])


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, msgspec.Struct):
        return in_words(value)
    return str(value)
