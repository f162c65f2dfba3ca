"""Snapshots on the disk: one file each, complete or not there.

A file is named `<term>-<index>.snap`. It has a line of JSON that says what the snapshot stands for, its size and its
checksum, and then the data. The file is written under another name, piece by piece, so that the whole is never in
memory. Then the file is synced and renamed, and the folder is synced. So a file of that name with a wrong checksum was
not cut short by a crash: it was damaged, and the one before stands in for it. That is why `retention` files are kept,
and why the log keeps every entry since the oldest of them.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.raft import Snapshot, SnapshotMeta
from node.raft.snapshot import Data

FOLDER = "snapshots"
FORMAT = 1
CHECKSUM_BYTES = 16
"""Of a blake2b, as `Snapshot.checksum` is."""
LARGEST = 2**63 - 1
NAME = re.compile(r"[0-9]+-([0-9]+)\.snap")

log = logging.getLogger(__name__)


class FileHead(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of a file."""

    format: int
    meta: SnapshotMeta
    size: int
    checksum: str


_DECODER = msgspec.json.Decoder(FileHead)


class SnapshotFiles:
    """The snapshots of one node. Raises OSError when the disk fails; the caller must then stop.

    `write` may be called from any thread; everything else belongs to one thread.
    """

    def __init__(self, folder: Path, *, retention: int) -> None:
        assert retention >= 1
        self.folder = folder / FOLDER
        self._retention = retention
        self._kept: list[SnapshotMeta] = []
        self.damaged: list[Path] = []
        """The damaged files, set aside."""
        self.folder.mkdir(exist_ok=True)
        for draft in self.folder.glob("*.draft"):
            draft.unlink()

    @property
    def fallback_index(self) -> int | None:
        """The entries after this one are needed if all snapshots but the oldest turn out to be damaged.

        None before `retention` snapshots are kept: the first would then fall back on the whole log.
        """
        return self._kept[0].index if len(self._kept) >= self._retention else None

    def load(self) -> list[Snapshot]:
        """All that are intact, oldest first. Damaged ones are set aside, with a warning."""
        found = []
        for path in sorted(self.folder.iterdir(), key=_index_of):
            if NAME.fullmatch(path.name):
                try:
                    found.append(_read(path))
                except ValueError as error:
                    aside = path.with_suffix(".damaged")
                    path.replace(aside)
                    self.damaged.append(aside)
                    log.warning("%s is damaged (%s); the snapshot before it must stand in", path, error)
        self._kept = [snapshot.meta for snapshot in found]
        return found

    def write(self, meta: SnapshotMeta, data: Iterable[Data]) -> Snapshot:
        """Make a snapshot durable, piece by piece; returns it with its data in the file instead of in memory."""
        path = self._path(meta)
        draft = path.with_suffix(f".{os.urandom(4).hex()}.draft")
        with draft.open("wb") as file:
            file.write(_head_line(meta, 0, ""))
            size, checksum = 0, hashlib.blake2b(digest_size=CHECKSUM_BYTES)
            for piece in data:
                size += file.write(piece)
                checksum.update(piece)
            file.seek(0)
            file.write(_head_line(meta, size, checksum.hexdigest()))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        sync_folder(self.folder)
        return _read(path)

    def keep(self, meta: SnapshotMeta) -> None:
        """Count the snapshot that was written among those kept, and delete those it makes superfluous."""
        kept = [other for other in self._kept if other.index != meta.index]
        self._kept = sorted([*kept, meta], key=lambda found: found.index)
        while len(self._kept) > self._retention:
            self._path(self._kept.pop(0)).unlink(missing_ok=True)

    def _path(self, meta: SnapshotMeta) -> Path:
        return self.folder / f"{meta.term}-{meta.index}.snap"


def _head_line(meta: SnapshotMeta, size: int, checksum: str) -> bytes:
    """Padded, so that it can be overwritten once size and checksum are known."""
    widest = FileHead(FORMAT, meta, LARGEST, "0" * 2 * CHECKSUM_BYTES)
    return msgspec.json.encode(FileHead(FORMAT, meta, size, checksum)).ljust(len(msgspec.json.encode(widest))) + b"\n"


def _index_of(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    return int(found.group(1)) if found else 0


def _read(path: Path) -> Snapshot:
    """The snapshot, its data mapped. Raises ValueError when it is not what its first line says."""
    with path.open("rb") as file:
        line = file.readline(1024 * 1024)
        try:
            head = _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"its first line is no head of a snapshot: {error}") from error
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    snapshot = Snapshot(head.meta, memoryview(mapped)[len(line) :])
    if (head.format, head.size, head.checksum) != (FORMAT, len(snapshot.data), snapshot.checksum):
        raise ValueError("its data does not have the size and the checksum that it was written with")
    return snapshot


def sync_folder(folder: Path) -> None:
    """A rename is durable only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
