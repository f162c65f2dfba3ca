"""A seal: a checksum for each line of what a run left behind, so that a later change is found by its line.

It guards against stray edits and failing disks, not against forgers, who can change the checksums too. Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

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


def checksums(lines: Iterable[bytes]) -> bytes:
    """Of lines with their ends; the last one may have none."""
    return b"".join(struct.pack("<I", zlib.crc32(line)) for line in lines)


def verified(lines: Iterable[bytes], sealed: bytes) -> Iterator[bytes]:
    """The same lines, each once it is known to be as it was sealed. Raises SealBrokenError at the first that is not."""
    count, number = len(sealed) // 4, 0
    for number, line in enumerate(lines, 1):
        if number > count:
            raise SealBrokenError(number, "added after the run ended")
        if zlib.crc32(line) != int.from_bytes(sealed[4 * number - 4 : 4 * number], "little"):
            raise SealBrokenError(number, "changed after the run ended")
        yield line
    if number < count:
        raise SealBrokenError(number + 1, f"missing; the run ended with {count} lines")
