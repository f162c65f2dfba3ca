"""Reads cases from files, and checks before anything is started that what they name exists."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from bench.case import LARGEST_BYTES, Case, CaseError
from bench.simulated.flaws import flaw_names
from bench.systems import SYSTEMS
from bench.workload import WORKLOADS


def load(file: Path) -> Case:
    """Raises CaseError, which names the file, the place in it, and what is wrong there."""
    try:
        case = Case.from_json(_content(file))
        _must_be_known("system", case.system, SYSTEMS)
        _must_be_known("workload", case.workload, WORKLOADS)
        if case.flaw is not None:
            _must_be_known("flaw", case.flaw, flaw_names())
    except CaseError as error:
        raise CaseError(f"{file}: {error}") from error
    return case


def _content(file: Path) -> bytes:
    if not file.is_file():
        raise CaseError("no file" if file.exists() else "not there")
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise CaseError(f"cannot be read: {error.strerror}") from error


def _must_be_known(field: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        way_out = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
        raise CaseError(f"at {field}: there is no {field} {name!r}; {way_out}")
