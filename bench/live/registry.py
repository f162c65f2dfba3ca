"""Which clusters run on this machine, and how to reach each: one 0600 file per cluster in the user's state folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock
import platformdirs
import psutil

STATE = "BENCH_STATE_DIR"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class RegistryError(Exception):
    """There is no such cluster, or one of this name runs already, or no cluster can have this name."""


@dataclass(frozen=True)
class Registered:
    url: str
    token: str
    pid: int
    started_s: float
    """When the process itself started, so that another process with a reused pid is not taken for it."""
    folder: str


def state_folder() -> Path:
    """BENCH_STATE_DIR, or the user's own."""
    return Path(os.environ.get(STATE) or platformdirs.user_state_path("raft-bench"))


@contextmanager
def taken(name: str) -> Iterator[None]:
    """The name is this process's until the block ends or the process dies. Raises RegistryError if another process has
    it."""
    file = _file(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(file.with_suffix(".lock"), blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        check_free(name)
        raise RegistryError(f"a cluster named {name} is starting or ending; choose another --name") from error
    try:
        yield
    finally:
        lock.release()


def register(name: str, entry: Registered) -> None:
    """Write down where the cluster is; its name must be `taken`."""
    file = _file(name)
    # A dead bench may have left a file behind, perhaps with other permissions.
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(entry), stream)


def check_free(name: str) -> None:
    """Raises RegistryError if a cluster of this name runs, or if no cluster can have this name."""
    if look_up(name) is not None:
        raise RegistryError(
            f"a cluster named {name} is running; choose another --name, or: python -m bench down --name {name}"
        )


def forget(name: str) -> None:
    _file(name).unlink(missing_ok=True)


def look_up(name: str) -> Registered | None:
    """The running cluster of this name; what a dead bench left behind does not count."""
    try:
        entry = Registered(**json.loads(_file(name).read_text()))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
        return None
    return entry if is_alive(entry) else None


def is_alive(entry: Registered) -> bool:
    try:
        process = psutil.Process(entry.pid)
        return process.create_time() == entry.started_s and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running() -> list[str]:
    return [name for name, _ in running_ones()]


def running_ones() -> list[tuple[str, Registered]]:
    """The clusters that run, by name."""
    names = sorted(file.stem for file in (state_folder() / "clusters").glob("*.json"))
    entries = ((name, look_up(name)) for name in names if NAME.fullmatch(name))
    return [(name, entry) for name, entry in entries if entry is not None]


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise RegistryError(f"{name!r} cannot name a cluster; use 1 to 32 of a-z, 0-9 and '-', not '-' first")
    return name


def _file(name: str) -> Path:
    return state_folder() / "clusters" / f"{check_name(name)}.json"
