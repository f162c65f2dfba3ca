"""A seal: a checksum for each line of what a run left behind, so that a later change is found by its line.

It guards against stray edits and failing disks, not against forgers, who can change the checksums too. Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgspec


class Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lines: dict[str, bytes]
    """For each file, the CRC32 of its lines, four bytes each, little-endian."""


class SealBrokenError(Exception):
    """The file is not what was sealed; the text says what is wrong with which line."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(line, words)
        self.line = line
        self.words = words


def split(content: bytes) -> list[bytes]:
    """Its lines, each with its end; the last one may have none."""
    *lines, rest = content.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def checksums(lines: Sequence[bytes]) -> bytes:
    return struct.pack(f"<{len(lines)}I", *map(zlib.crc32, lines))


def verify(lines: Sequence[bytes], sealed: bytes) -> None:
    """Raises SealBrokenError unless `sealed` are the checksums of these lines."""
    if checksums(lines) == sealed:
        return
    known = [checksum for (checksum,) in struct.iter_unpack("<I", sealed[: len(sealed) // 4 * 4])]
    for number, (line, checksum) in enumerate(zip(lines, known, strict=False), 1):
        if zlib.crc32(line) != checksum:
            raise SealBrokenError(number, "changed after the run ended")
    if len(lines) < len(known):
        raise SealBrokenError(len(lines) + 1, f"missing; the run ended with {len(known)} lines")
    raise SealBrokenError(len(known) + 1, "added after the run ended")
