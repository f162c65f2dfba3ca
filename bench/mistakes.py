"""What an author's code did wrong, shown with the author's own lines and without the bench's."""

from __future__ import annotations

import contextlib
import linecache
import sysconfig
import textwrap
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = (ROOT / "bench", ROOT / "faults", ROOT / "node")
STORIES = ROOT / "bench" / "scenarios"
"""Ours, but shown like any author's."""
NO_STORIES = ("asserts.py", "files.py", "registry.py", "steps.py")
"""Except how scenarios are found, and the steps that stories share: what matters is the line of the story that called
them."""
BETWEEN = (contextlib.__file__, "<string>")
"""Files whose frames stand between an author's and ours: code that enters our blocks, and code that dataclasses
generate."""
LIBRARIES = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
"""Code that an author calls but did not write."""


def line_of(error: BaseException) -> str:
    """Where in the author's code it came up: the file and the innermost line; empty if the author has no part in it."""
    frames = _authors_frames(error)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def headline(error: BaseException) -> str:
    """Where it came up in the author's code, and the first line of what it says; what stands there, if it says
    nothing."""
    code = [line.strip() for line in _code_of(error)]
    said = _said_by(error) or code or [type(error).__name__]
    return f"{line_of(error)} {said[0]}".strip()


def shown(error: BaseException) -> tuple[str, ...]:
    """The author's code there, and the rest of what it says: for a failed assertion, both values (`bench.scenarios.
    asserts`)."""
    return (*(f">   {line}" for line in _code_of(error)), *(f"    {line}" for line in _said_by(error)[1:]))


def _said_by(error: BaseException) -> list[str]:
    return _writable(str(error)).splitlines()


def _writable(said: str) -> str:
    """Half a surrogate pair can stand in a string of Python's, and in no file."""
    return said.encode(errors="backslashreplace").decode()


def _code_of(error: BaseException) -> list[str]:
    frames = _authors_frames(error)
    if not frames or frames[-1].lineno is None:
        return []
    first, last = frames[-1].lineno, frames[-1].end_lineno or frames[-1].lineno
    lines = linecache.getlines(frames[-1].filename)[first - 1 : last]
    return textwrap.dedent("".join(lines)).splitlines()


def _authors_frames(error: BaseException) -> list[traceback.FrameSummary]:
    told = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_authors(frame)]
    return [frame for frame in told if LIBRARIES.isdisjoint(Path(frame.filename).resolve().parents)]


def as_python_tells(error: BaseException) -> str:
    """The author's part of the traceback, with the errors that led to this one; its last line says what is wrong."""
    told = traceback.TracebackException.from_exception(error)
    chain: list[traceback.TracebackException | None] = [told]
    for one in chain:
        if one is not None:
            one.stack = traceback.StackSummary.from_list([frame for frame in one.stack if _is_authors(frame)])
            chain += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return _writable("".join(told.format()).rstrip())


def _is_authors(frame: traceback.FrameSummary) -> bool:
    if frame.filename in BETWEEN:
        return False
    file = Path(frame.filename).resolve()
    if STORIES in file.parents:
        return file.name not in NO_STORIES
    return not any(room in file.parents for room in OURS)
