"""Folders for runs: ``runs/<name>/<UTC time>/``, never one that existed before."""

from __future__ import annotations

import time
from pathlib import Path


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
