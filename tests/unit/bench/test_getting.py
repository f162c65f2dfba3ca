"""What a command says while toxiproxy-server is being got, by a `go` that is a script."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import pytest
from rich.console import Console

from bench.commands import getting
from bench.commands.getting import get_toxiproxy

BUILDS = """#!/bin/sh
/bin/mkdir -p "$GOBIN"
echo example.com/a >&2
echo built > "$GOBIN/server"
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program on PATH, with an empty cache."""
    monkeypatch.delenv("TOXIPROXY_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    for home in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(home, str(tmp_path / "home"))
    script = tmp_path / "path" / "go"
    script.parent.mkdir()
    script.touch(0o755)
    script.write_text(BUILDS)
    return script


def test_elsewhere_than_on_a_terminal_a_way_is_told_where_it_begins_and_where_it_ends(
    go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get_toxiproxy().read_text() == "built\n"
    out, err = capsys.readouterr()
    began, ended = err.splitlines()
    assert (out, began) == ("", "go install: getting toxiproxy-server 2.12.0")
    assert ended.startswith("go install: toxiproxy-server 2.12.0 is in the cache after ")


def test_what_is_there_is_not_worth_a_word(go: Path, capsys: pytest.CaptureFixture[str]) -> None:
    get_toxiproxy()
    capsys.readouterr()
    get_toxiproxy()
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_is_told_how_far_it_is_and_the_command_goes_on_showing_what_it_does(
    go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=80)
    monkeypatch.setattr(getting, "console", lambda **_: terminal)
    with terminal.status("starting") as status:
        get_toxiproxy(status)
        status.update("playing")
    before, _, after = shown.getvalue().partition("is in the cache")
    assert "packages compiled: 1" in before
    assert "playing" in after


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_ctrl_c_does(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    former = signal.getsignal(number)
    monkeypatch.setattr(getting, "find_server", lambda _: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        get_toxiproxy()
    assert signal.getsignal(number) is former
