"""Limits on what a running process may have: a disk and a memory that are full for that process alone.

Only soft limits are moved, never hard ones, so that what was taken away can be given back.
"""

from __future__ import annotations

import psutil

AVAILABLE = hasattr(psutil.Process, "rlimit")
"""Whether another process's limits can be moved here: only Linux has prlimit."""


def fill_disk(pid: int) -> None:
    """Whatever the process writes to a file fails from now on."""
    _limit(pid, psutil.RLIMIT_FSIZE, 0)


def free_disk(pid: int) -> None:
    _limit(pid, psutil.RLIMIT_FSIZE, _usual(psutil.RLIMIT_FSIZE))


def exhaust_memory(pid: int) -> None:
    """The process gets no more memory. Its address space is not limited: malloc reserves far more of that than it
    uses."""
    _limit(pid, psutil.RLIMIT_DATA, int(psutil.Process(pid).memory_info().data))


def free_memory(pid: int) -> None:
    _limit(pid, psutil.RLIMIT_DATA, _usual(psutil.RLIMIT_DATA))


def _limit(pid: int, resource: int, soft: int) -> None:
    """Raises psutil.NoSuchProcess."""
    process = psutil.Process(pid)
    _, hard = process.rlimit(resource)
    process.rlimit(resource, (soft, hard))


def _usual(resource: int) -> int:
    """This process's own limit, with which its children begin too."""
    soft, _ = psutil.Process().rlimit(resource)
    return soft
