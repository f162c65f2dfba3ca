"""Folders the bench writes to; those of runs, ``runs/<name>/<UTC time>/``, are never ones that existed before."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path


class UnusableFolderError(Exception):
    """Nothing can be written there; the text names the variable that says where else."""


def usable(folder: Path, variable: str) -> Path:
    """Make the folder if it is not there, and write to it. Raises UnusableFolderError.

    Asking for permissions is not enough: a read-only disk, or /proc, allows what it then refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
    except OSError as error:
        raise UnusableFolderError(
            f"cannot write to {folder.absolute()} ({error.strerror}); set {variable} to a folder that can be written"
        ) from error
    return folder


def new_folder(runs: Path, name: str) -> Path:
    """Two runs in one second get a folder each. Raises OSError when `runs` cannot be written."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(100):
        folder = runs / name / (stamp if not attempt else f"{stamp}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder.absolute()
    raise FileExistsError(f"{runs / name} has a hundred runs of {stamp}")
