"""What a run says of itself: what was run on which cluster, by which program on which machine, and what came of it."""

from __future__ import annotations

import hashlib
import os
import platform
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Annotated

import msgspec

from bench.case import Plan
from bench.verdict import Verdict

FORMAT = 1
"""The format of a run's folder; raise it when the contents change."""

ROOT = Path(__file__).parents[1]
SOURCES = ("bench", "faults", "node")
PACKAGES = ("flask", "msgspec", "psutil", "requests", "toxiproxy-python", "waitress")
"""What nodes and links run on, and what the bench measures with."""

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class RunKind(StrEnum):
    SCENARIO = "scenario"
    CASE = "case"
    UP = "up"
    EXPLORE = "explore"
    MEASURE = "measure"


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the run was made, and with what."""

    platform: str
    cpus: int
    python: str
    packages: dict[str, str]
    """Their versions."""
    code: str
    """A digest over the sources of the bench, the faults and the node."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Written when the run begins, and again when it ends."""

    format: int = FORMAT
    kind: RunKind
    name: str
    """The name of the scenario, the case or the cluster."""
    file: str | None = None
    """The user's own file in which the scenario or the case was found."""
    world: str
    plan: Plan
    profile: str | None = None
    nodes: int | None = None
    """The size of cluster that was asked for, in place of the scenario's own."""
    limit_s: float | None = None
    """How long it might take, if another limit than the scenario's own was asked for."""
    checks: tuple[str, ...] = ()
    """The checks that judge its evidence (`bench.judging`)."""
    left_out: tuple[str, ...] = ()
    """What of the case was not played, and why."""
    machine: Machine
    pid: int
    """The process of the bench that wrote it."""
    began: Instant
    zero_s: float | None = None
    """What the monotonic clock of the machine read then. All times of the run are counted from there; in virtual time,
    from 0."""
    ended: Instant | None = None
    seconds: float | None = None
    """How long it took, in wall-clock time."""
    verdict: Verdict | None = None
    digest: str | None = None
    """A digest of everything that happened, if the run can be repeated to the byte."""


@cache
def this_machine() -> Machine:
    return Machine(
        platform=platform.platform(),
        cpus=os.cpu_count() or 1,
        python=platform.python_version(),
        packages={package: _version(package) for package in PACKAGES},
        code=code_digest(),
    )


@cache
def code_digest() -> str:
    """Two runs with the same digest were made by the same program."""
    digest = hashlib.blake2b(digest_size=8)
    for room in SOURCES:
        for file in sorted((ROOT / room).rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
