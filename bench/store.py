"""The store of runs: only this module knows what a run's folder looks like.

    runs/<what was run>/<UTC time>[-seed-N][-k]/
        manifest.json        what was run, where, and what came of it (`bench.manifest`)
        case.json            the case, of a run that played one
        history.jsonl        what clients asked and were told
        timeline.jsonl       what the bench did
        nodes/<node>/        trace.jsonl, and whatever else the node leaves behind
        cluster.log, toxiproxy.log
        up.log               what `up --detach` says after it has returned
        kept.log             what nodes logged after the story, of a cluster that was kept for a look
        verdict.json         the findings
        seal.json            a checksum for each line of all this but the logs

History and timeline are written as things happen, each line by one unbuffered call: a bench that is killed loses at
most the line it was writing. `Recording` is a run being written. It holds a lock, which the kernel releases however
the bench ends; so a killed bench is told from one that runs. At the end everything is sealed. `StoredRun` reads a run
and believes nothing that was cut or changed since: it raises StoreError, which names file and line.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec

from bench import history
from bench.case import LARGEST_BYTES, Case, CaseError, Plan
from bench.evidence import Evidence, Record
from bench.history import Event, HistoryLineError
from bench.manifest import FORMAT, Manifest, RunKind, this_machine
from bench.operations import Operation
from bench.schedule import Name
from bench.seal import Seal, SealBrokenError, checksums, verified
from bench.verdict import Finding, combined

T = TypeVar("T")

MANIFEST, CASE, VERDICT, SEAL = "manifest.json", "case.json", "verdict.json", "seal.json"
HISTORY, TIMELINE = "history.jsonl", "timeline.jsonl"
EVIDENCE = (MANIFEST, CASE, HISTORY, TIMELINE, VERDICT)
"""What is sealed, with the traces."""
LOG, PROXIES_LOG, OUTPUT, KEPT_LOG = "cluster.log", "toxiproxy.log", "up.log", "kept.log"
MIB = 1024 * 1024
LARGEST = {MANIFEST: MIB, CASE: LARGEST_BYTES, VERDICT: 16 * MIB, SEAL: 128 * MIB}
"""A larger file is not one of ours."""
LARGEST_EVIDENCE = 1024 * MIB
"""History, timeline and traces together. Five nodes and their clients leave some 500 MiB behind in half an hour of all
that they can do; what is read takes up to six times as much memory."""
LONGEST_LINE = 16 * MIB
MOST_LINES = 5_000_000
"""In each of these files."""
TAIL_BYTES = 64 * 1024

UNFIT = re.compile(r"[^A-Za-z0-9_.,+=\[\]-]|^\.+")
"""What a folder's name must not contain."""
LONGEST_NAME = 100

_encode = msgspec.json.Encoder().encode
_fields: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
NO_LINE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What is raised for a line that is not a whole record."""


class StoreError(Exception):
    """There is no such run, or it cannot be read; the text names file and line, and says what is wrong there."""


class UnusableFolderError(Exception):
    """The folder cannot be written to; the text names the variable that sets another."""


def usable(folder: Path, variable: str) -> Path:
    """Make the folder if it is not there, and write to it. Raises UnusableFolderError.

    Checking permissions is not enough: a read-only disk, or /proc, permits what it then refuses.
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


class RunOverError(Exception):
    """What happens now is no part of the run any more."""


class Findings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a run."""

    told: tuple[Finding, ...] = ()
    """Told by the story and its world while it was played; these cannot be judged again."""
    judged: tuple[Finding, ...] = ()
    """Judged from the evidence by the manifest's checks, in their order."""

    @property
    def all(self) -> tuple[Finding, ...]:
        return (*self.told, *self.judged)


# Writing


def begin(
    runs: Path,
    *,
    kind: RunKind,
    name: str,
    world: str,
    plan: Plan,
    profile: str | None = None,
    nodes: int | None = None,
    limit_s: float | None = None,
    file: Path | None = None,
    checks: Iterable[str] = (),
) -> Recording:
    """Begin a run in a new folder under `runs`. Raises OSError when it cannot be written."""
    began = datetime.now(UTC)
    manifest = Manifest(
        kind=kind,
        name=name,
        file=None if file is None else str(file.absolute()),
        world=world,
        plan=plan,
        profile=profile,
        nodes=nodes,
        limit_s=limit_s,
        checks=tuple(checks),
        machine=this_machine(),
        pid=os.getpid(),
        began=began,
        # To the microsecond, as a node is told it.
        zero_s=round(time.monotonic(), 6) if world == "live" else None,
    )
    return Recording(_new_folder(runs.absolute(), manifest), manifest)


class Recording:
    """A run being written. Many threads may write to it."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.zero_s = manifest.zero_s or 0.0
        """What the machine's monotonic clock read when the run began; 0 in virtual time, which has its own 0."""
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._over = False
        self._aside: dict[Path, int] | None = None
        """If what happens is no part of the run any more: how long the files were of which others write the rest."""
        self._ended_s: float | None = None
        self._history = (folder / HISTORY).open("ab", buffering=0)
        self._timeline = (folder / TIMELINE).open("ab", buffering=0)
        # Before the manifest is there: others find the run by that.
        fcntl.flock(self._history, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_json(folder / MANIFEST, manifest)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        """Without `finish` before, the run did not end."""
        self._history.close()
        self._timeline.close()

    def plays(self, case: Case, left_out: Iterable[str] = ()) -> None:
        """Keep the case that is played; `left_out` says what of it is not played, and why."""
        (self.folder / CASE).write_bytes(case.to_json())
        self.manifest = msgspec.structs.replace(self.manifest, left_out=tuple(left_out))
        _write_json(self.folder / MANIFEST, self.manifest)

    # As it happens

    def event(self, event: Event) -> None:
        """Of the history. Raises OSError when it cannot be written, and RunOverError when it comes too late."""
        if self.zero_s:
            event = msgspec.structs.replace(event, monotonic_s=event.at_s + self.zero_s)
        self._append(self._history, history.encode(event))

    def note(self, record: Record) -> None:
        """Of the timeline. Raises OSError when it cannot be written, and RunOverError when it comes too late."""
        beside = {"monotonic_s": record["at_s"] + self.zero_s} if self.zero_s else {}
        self._append(self._timeline, _encode({**record, **beside}))

    def _append(self, file: Any, line: bytes) -> None:
        with self._lock:
            if self._over:
                raise RunOverError("the run is over, and nothing is written of it any more")
            if self._aside is not None:
                return
            _append(file, line)

    # Where others write

    def node_folder(self, node: str) -> Path:
        """The node's own folder. Raises ValueError for a name that no node can have."""
        folder = self.folder / _of_node(node)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def trace_file(self, node: str) -> Path:
        self.node_folder(node)
        return self.folder / _trace_of(node)

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def toxiproxy_log(self) -> Path:
        return self.folder / PROXIES_LOG

    @property
    def output(self) -> Path:
        """For what the bench itself says in the background."""
        return self.folder / OUTPUT

    # At the end

    def set_aside(self) -> None:
        """What happens from here on is no part of the run, but it may go on: nothing is written of it, and what the
        nodes write of it themselves is cut off at the end."""
        files = (self.folder / _trace_of(node) for node in self.manifest.plan.nodes)
        with self._lock:
            self._aside = {file: file.stat().st_size for file in (*files, self.log) if file.exists()}
            self._ended_s = time.monotonic()

    def over(self) -> None:
        """What happens from here on is no part of it: a story may have left somebody at work."""
        with self._lock:
            self._over = True
            aside, self._aside = self._aside or {}, {}
        for file, size in aside.items():
            if file == self.log:
                (self.folder / KEPT_LOG).write_bytes(file.read_bytes()[size:])
            os.truncate(file, size)

    def trace(self, node: str, records: Iterable[Record]) -> None:
        """Write the trace of a node that does not write its own."""
        self.trace_file(node).write_bytes(b"".join(_encode(record) + b"\n" for record in records))

    def write_log(self, lines: Iterable[str]) -> None:
        """Write the log of a world whose nodes do not write theirs."""
        self.log.write_text("".join(f"{line}\n" for line in lines))

    def evidence(self) -> Evidence:
        """The evidence as a later reader of the run finds it. Raises StoreError."""
        return _Files(self.folder, None).evidence(self.manifest.plan)

    def finish(self, findings: Findings, digest: str | None = None) -> None:
        """The run has ended, and this came of it: from here on nobody writes to it any more."""
        self.over()
        _write_json(self.folder / VERDICT, findings)
        verdict = combined(findings.all) if findings.all else None
        seconds = round((self._ended_s or time.monotonic()) - self._began_s, 3)
        self.manifest = msgspec.structs.replace(
            self.manifest, ended=datetime.now(UTC), seconds=seconds, verdict=verdict, digest=digest
        )
        _write_json(self.folder / MANIFEST, self.manifest)
        traces = [_trace_of(node) for node in self.manifest.plan.nodes]
        files = (file for file in (*EVIDENCE, *traces) if (self.folder / file).exists())
        _write_json(self.folder / SEAL, Seal({file: _checksums(self.folder / file) for file in files}))


def _new_folder(runs: Path, manifest: Manifest) -> Path:
    """A folder whose name alone tells the run from all others, in the folders of other scenarios too."""
    seed = f"-seed-{manifest.plan.seed}" if manifest.world != "live" or manifest.plan.seed else ""
    stamp = f"{manifest.began:%Y%m%dT%H%M%SZ}{seed}"
    parent = runs / (UNFIT.sub("_", manifest.name)[:LONGEST_NAME] or "_")
    for attempt in itertools.count():
        name = f"{stamp}-{attempt}" if attempt else stamp
        parent.mkdir(parents=True, exist_ok=True)
        if any(os.path.lexists(Path(other, name)) for other in os.scandir(runs)):
            continue
        # Another process may take the name in between, or remove an empty parent.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            (parent / name).mkdir()
            return parent / name
    raise AssertionError("there is always another number")


def _checksums(file: Path) -> bytes:
    with file.open("rb") as lines:
        return checksums(lines)


def _append(file: Any, line: bytes) -> None:
    line += b"\n"
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def _write_json(file: Path, value: object) -> None:
    """Write all of it or nothing."""
    whole = file.with_suffix(".new")
    whole.write_bytes(msgspec.json.format(_encode(value), indent=2) + b"\n")
    whole.replace(file)


def _of_node(node: str) -> str:
    try:
        return f"nodes/{msgspec.convert(node, Name)}"
    except msgspec.ValidationError as error:
        raise ValueError(f"{node!r} cannot name a node") from error


def _trace_of(node: str) -> str:
    return f"{_of_node(node)}/trace.jsonl"


# Reading


class RunState(StrEnum):
    GOING_ON = "going on"
    ENDED = "ended"
    CUT_OFF = "cut off"
    """Its writer is gone and had not ended it."""


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder has it. Whatever reads more than the manifest raises StoreError."""

    folder: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The name by which the commands know it."""
        return self.folder.name

    @property
    def long_id(self) -> str:
        """The id with the name of what was run, should two runs ever share the short one."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def state(self) -> RunState:
        """Its state now. After the manifest says that the run ended, its writer is still at work until the seal is
        written."""
        if _is_locked(self.folder / HISTORY):
            return RunState.GOING_ON
        return RunState.CUT_OFF if self.manifest.ended is None else RunState.ENDED

    @property
    def size_bytes(self) -> int:
        total = 0
        for folder, _, files in os.walk(self.folder):
            for file in files:
                with contextlib.suppress(FileNotFoundError):  # Files of a run that is going on come and go.
                    total += Path(folder, file).lstat().st_size
        return total

    def case(self) -> Case | None:
        """The case; None if the run played none."""
        return self._files().case()

    def evidence(self) -> Evidence:
        return self._files().evidence(self.manifest.plan)

    def findings(self) -> Findings | None:
        """What the run said; None if it did not end."""
        return self._files().json(VERDICT, Findings) if self.manifest.ended is not None else None

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of the log."""
        return self._files().tail(LOG, lines)

    def verify(self) -> None:
        """Check that the manifest is the one that was sealed."""
        self._files().json(MANIFEST, Manifest)

    def _files(self) -> _Files:
        unsealed = _Files(self.folder, None)
        # A run that has a seal has ended, whatever its manifest says by now.
        has_seal = self.manifest.ended is not None or (self.folder / SEAL).exists()
        return _Files(self.folder, unsealed.json(SEAL, Seal)) if has_seal else unsealed


class Listing(NamedTuple):
    runs: tuple[StoredRun, ...]
    """Newest first."""
    unreadable: tuple[StoreError, ...]
    """Why other folders are not among the runs."""


def runs_in(folder: Path) -> Listing:
    """The runs kept there, as far as the manifests tell."""
    runs: list[StoredRun] = []
    unreadable: list[StoreError] = []
    for manifest in folder.glob(f"*/*/{MANIFEST}"):
        run = manifest.parent
        if run.is_symlink() or run.parent.is_symlink():
            continue
        try:
            runs.append(_listed(run))
        except StoreError as error:
            unreadable.append(error)
    return Listing(tuple(sorted(runs, key=lambda run: run.manifest.began, reverse=True)), tuple(unreadable))


def read(folder: Path) -> StoredRun:
    """The run in this folder. Raises StoreError."""
    if not os.path.lexists(folder / MANIFEST):
        raise StoreError(f"{folder / MANIFEST}: missing; without it a folder is no run, see: python -m bench runs")
    run = _listed(folder)
    run.verify()
    return run


def find(folder: Path, name: str) -> StoredRun:
    """A run by its id, or by its own folder; ``last`` is the newest one in `folder`. Raises StoreError."""
    runs = runs_in(folder).runs
    found = runs[:1] if name == "last" else [run for run in runs if name in (run.id, run.long_id)]
    match list(found):
        case [run]:
            return read(run.folder)
        case [] if os.path.isdir(name):  # noqa: PTH112  Says no to a name that cannot be a path.
            return read(Path(name))
        case []:
            if not runs:
                raise StoreError(f"there are no runs in {folder.absolute()}")
            raise StoreError(f"there is no run {name!r} in {folder.absolute()}; see: python -m bench runs")
        case several:
            raise StoreError(f"{name} may be {' or '.join(run.long_id for run in several)}; name one of them")


class Removed(NamedTuple):
    run: StoredRun
    size_bytes: int


def prune(folder: Path, keep: int) -> Iterator[Removed]:
    """Remove all but the `keep` newest runs; never one that is going on, nor a folder without a manifest of ours.
    Raises OSError."""
    for run in runs_in(folder).runs[keep:]:
        if run.state is RunState.GOING_ON:
            continue
        size_bytes = run.size_bytes
        shutil.rmtree(run.folder)
        with contextlib.suppress(OSError):  # The parent has other runs.
            run.folder.parent.rmdir()
        yield Removed(run, size_bytes)


class _Format(msgspec.Struct, frozen=True):
    format: int


def _listed(folder: Path) -> StoredRun:
    files = _Files(folder, None)
    version = files.json(MANIFEST, _Format).format
    if version != FORMAT:
        raise StoreError(f"{folder / MANIFEST}: a run of format {version}; this program reads format {FORMAT}")
    return StoredRun(folder, files.json(MANIFEST, Manifest))


@dataclass(frozen=True)
class _Files:
    """The files of a folder, checked against its seal if the run has ended."""

    folder: Path
    seal: Seal | None

    def lines(self, file: str) -> Iterator[bytes]:
        """The lines with their ends, which the last one may lack."""
        lines = self._read(file)
        if self.seal is None:
            yield from lines
            return
        if file not in self.seal.lines:
            raise StoreError(f"{self.folder / file}: added after the run ended")
        try:
            yield from verified(lines, self.seal.lines[file])
        except SealBrokenError as error:
            raise self._wrong(file, error.line, error.words) from error

    def json(self, file: str, kind: type[T]) -> T:
        content = b"".join(self.lines(file))
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError as error:
            raise StoreError(f"{self.folder / file}: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._wrong(file, _breaks_at(content), "no JSON from here on") from error

    def case(self) -> Case | None:
        if not self._has(CASE):
            return None
        try:
            return Case.from_json(b"".join(self.lines(CASE)))
        except CaseError as error:
            raise StoreError(f"{self.folder / CASE}: {error}") from error

    def evidence(self, plan: Plan) -> Evidence:
        files = {node: _trace_of(node) for node in plan.nodes if self._has(_trace_of(node))}
        self._check_sizes((HISTORY, TIMELINE, *files.values()))
        traces = {node: self._trace(file) for node, file in files.items()}
        return Evidence(self._operations(), traces, tuple(self._timeline()), plan.settings)

    def tail(self, file: str, lines: int) -> list[str]:
        if not (self.folder / file).exists():
            return []
        with self._open(file) as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
            return stream.read().decode(errors="replace").splitlines()[-lines:]

    def _operations(self) -> tuple[Operation, ...]:
        try:
            return history.of_lines(self._whole_lines(HISTORY))
        except HistoryLineError as error:
            raise self._wrong(HISTORY, error.line, error.words) from error

    def _timeline(self) -> Iterator[Record]:
        for number, line in enumerate(self._whole_lines(TIMELINE), 1):
            try:
                yield _record(line)
            except NO_LINE as error:
                raise self._wrong(TIMELINE, number, str(error)) from error

    def _whole_lines(self, file: str) -> Iterator[bytes]:
        """Without the line during which the bench was killed."""
        return (line for line in self.lines(file) if self.seal is not None or line.endswith(b"\n"))

    def _trace(self, file: str) -> tuple[Record, ...]:
        """The records, without lines that the node did not finish because it was killed or its disk was full. Such a
        line is not damage: it is the last one, or the node's next start follows it."""
        records: list[Record] = []
        torn: list[StoreError] = []
        line = b""
        for number, line in enumerate(self.lines(file), 1):
            try:
                record = _record(line)
            except NO_LINE as error:
                torn.append(self._wrong(file, number, str(error)))
                continue
            if torn and record["event"] != "start":
                raise torn[0]
            torn.clear()
            records.append(record)
        if torn and line.endswith(b"\n"):
            raise torn[0]
        return tuple(records)

    def _has(self, file: str) -> bool:
        return (self.folder / file).exists() or (self.seal is not None and file in self.seal.lines)

    def _check_sizes(self, files: Iterable[str]) -> None:
        """Of what may be long, before any of it is read."""
        total = 0
        for file in files:
            with self._open(file) as stream:
                total += os.fstat(stream.fileno()).st_size
            if total > LARGEST_EVIDENCE:
                words = f"with it the run's history, timeline and traces have more than {LARGEST_EVIDENCE:,} bytes"
                raise StoreError(f"{self.folder / file}: {words}, which is the most that is read")

    def _read(self, file: str) -> Iterator[bytes]:
        """A line at a time. Raises StoreError for more than a file of ours has."""
        most = LARGEST.get(file)
        with self._open(file) as stream:
            if most is not None:
                if os.fstat(stream.fileno()).st_size > most:
                    raise StoreError(f"{self.folder / file}: has more than {most} bytes, which none of ours has")
                yield from stream
                return
            lines = iter(lambda: stream.readline(LONGEST_LINE + 1), b"")
            for number, line in enumerate(lines, 1):
                if len(line) > LONGEST_LINE:
                    raise self._wrong(file, number, f"longer than {LONGEST_LINE:,} bytes, which none of ours is")
                if number > MOST_LINES:
                    raise self._wrong(file, number, f"one more than the {MOST_LINES:,} lines that are read")
                yield line

    def _open(self, file: str) -> BinaryIO:
        path = self.folder / file
        try:
            if not path.resolve().is_relative_to(self.folder.resolve()):
                raise StoreError(f"{path}: leads out of the run's folder")
            if not path.is_file():
                raise StoreError(f"{path}: {'no file' if path.exists() else 'missing'}")
            return path.open("rb")
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        except RuntimeError as error:  # Python 3.11 and 3.12, for a link that leads to itself.
            raise StoreError(f"{path}: missing") from error

    def _wrong(self, file: str, line: int, words: str) -> StoreError:
        return StoreError(f"{self.folder / file}, line {line}: {words}")


def _record(line: bytes) -> Record:
    """Raises one of NO_LINE."""
    record = _fields(line)
    if not isinstance(record.get("event"), str) or not isinstance(record.get("at_s"), int | float):
        raise ValueError("it has no event, or not when that was")
    return record


def _breaks_at(content: bytes) -> int:
    """The line at which it stops being JSON."""
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return error.lineno
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    except RecursionError:
        return 1
    return content.count(b"\n") + 1


def _is_locked(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
