"""What shells complete behind `python -m bench`, tried in each shell that is here, as somebody types."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from bench.cli import COMMANDS, COMPLETION, cli

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60
CLEAR_LINE = "\x15"
MODES = ("blackhole", "refuse", "hold")
ESCAPES = re.compile(r"\x1b\[[0-9;?>=]*[a-zA-Z]|\x1b[()=>][0-9A-Z]?|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|[\r\x08]")

SHELLS = {
    "bash": (["bash", "--norc", "-i"], 'source {script}; PS1="ready""> "'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u -D; source {script}; PS1="ready""> "'),
    "fish": (["fish", "--no-config", "-i"], 'source {script}; function fish_prompt; echo "ready""> "; end'),
}
"""How each is started, and what is typed first."""


class Terminal:
    """A shell that thinks somebody sits before it."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self.screen = ""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "TERM": "dumb", "COLUMNS": "200"}
        environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "XDG_DATA_HOME": str(folder)}
        self._pid, self._here = pty.fork()
        if not self._pid:
            os.chdir(folder)
            os.execvpe(argv[0], argv, environment)

    def type(self, keys: str) -> None:
        self.screen = ""
        os.write(self._here, keys.encode())

    def shows(self, words: str) -> bool:
        """Whether it does so before the time is up."""
        ends_s = time.monotonic() + DEADLINE_S
        while words not in ESCAPES.sub("", self.screen):
            if not select.select([self._here], [], [], max(0.0, ends_s - time.monotonic()))[0]:
                return False
            self.screen += os.read(self._here, 65536).decode(errors="replace")
        return True

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._here)


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    argv, first = SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"there is no {argv[0]} here")
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(cli, ["completion", request.param]).output)
    (tmp_path / "a_file_of_mine.py").write_text("")
    terminal = Terminal(argv, tmp_path)
    try:
        terminal.type(f"{first.format(script=script)}\n")
        assert terminal.shows("ready> "), terminal.screen
        yield terminal
    finally:
        terminal.close()


TYPED = {
    "python -m bench explo\t": "explore",
    "python3 -m bench run kill_l\t": "kill_leader",
    "python -m bench run --world=simulated --flaw vote_tw\t": "vote_twice",
    "python -m bench run a_file\t": "a_file_of_mine.py",
    "python -m bench measure --profile hi\t": "high-latency",
    "python a_file\t": "a_file_of_mine.py",
}


def test_a_shell_completes_names_behind_the_bench_and_files_behind_other_uses_of_python(terminal: Terminal) -> None:
    for typed, shown in TYPED.items():
        terminal.type(f"{CLEAR_LINE}{typed}")
        assert terminal.shows(shown), terminal.screen


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", list(COMMANDS)),
        ("run kill", ["kill_leader"]),
        ("run split_brain[two_halves-both", [f"split_brain[two_halves-both_ways-{mode}]" for mode in MODES]),
        ("list kill_leader al", ["all"]),
        ("run --flaw vote_", ["vote_by_length", "vote_twice"]),
        ("explore --flaw vote_", ["vote_by_length", "vote_twice"]),
        ("measure heal_b", ["heal_blackhole"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("kill ", []),
        ("kill --name ", []),
    ],
)
def test_names_are_completed_where_they_are_meant(
    typed: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STATE_DIR", str(tmp_path))
    *before, incomplete = typed.split(" ")
    completions = ShellComplete(cli, {}, "python -m bench", COMPLETION).get_completions(before, incomplete)
    assert [one.value for one in completions] == found


def test_the_nodes_and_roles_of_a_running_cluster_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def status(name: str, command: str) -> dict[str, object]:
        asked.append((name, command))
        return {"nodes": [{"node": "n1"}, {"node": "n2"}]}

    monkeypatch.setattr("bench.live.remote.ask", status)
    complete = ShellComplete(cli, {}, "python -m bench", COMPLETION).get_completions
    assert [one.value for one in complete(["kill", "--name", "other"], "")] == ["n1", "n2", "leader", "follower"]
    assert [one.value for one in complete(["cut", "n1"], "c")] == ["client"]
    assert asked == [("other", "status"), ("default", "status")]


def test_a_name_that_nothing_begins_with_may_be_a_file() -> None:
    (found,) = ShellComplete(cli, {}, "python -m bench", COMPLETION).get_completions(["run"], "my_scen")
    assert found.type == "file"


def test_an_unknown_shell_is_refused_in_a_sentence() -> None:
    done = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert (done.exit_code, len(done.stderr.splitlines()), "'tcsh'" in done.stderr) == (2, 1, True)
