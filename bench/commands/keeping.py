"""run --keep: the cluster of a story that went wrong stays up as it was, for a look from other terminals."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rich.status import Status

from bench import telling
from bench.commands.options import state_folder
from bench.commands.showing import cluster_table, console, tell
from bench.live import registry
from bench.live.cluster import LiveCluster
from bench.live.control import Control
from bench.live.registry import RegistryError
from bench.live.serving import Ended, controlled, registered
from bench.runner import Run, run_scenario
from bench.scenarios import Scenario
from bench.verdict import Finding
from bench.worlds import LiveWorld
from faults.signals import handled

LOOK_S = 0.1
"""How often it is looked whether the look is over."""
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
KILLED = 128
"""What shells add to a signal's number."""
COMMANDS = ("status", "logs", "down")
"""What is shown of how to look, with the cluster's name."""


def keeping(world: LiveWorld, progress: Status) -> Callable[..., Run]:
    """`run_scenario`, which keeps the cluster of a story that went wrong until somebody has seen enough of it. Raises
    UnusableFolderError where no cluster can be registered."""
    state_folder()

    def play(scenario: Scenario, **options: Any) -> Run:
        obeyed: list[int] = []
        done = run_scenario(scenario, world=world, on_failure=partial(_look, progress, obeyed), **options)
        if obeyed:
            # They meant the whole program, and the run is stored by now.
            _tell(f"{done.verdict}; evidence in\n  {done.folder}")
            sys.exit(KILLED + obeyed[0])
        return done

    return play


def _look(progress: Status, obeyed: list[int], cluster: LiveCluster, finding: Finding) -> None:
    cluster.stay()
    ended: Ended = queue.SimpleQueue()
    with _resting(progress), _signals(ended, obeyed), controlled(cluster, ended) as control:
        with _name_of(cluster) as name, registered(name, cluster, control):
            _explain(name, control, finding, cluster)
            why = _wait(ended)
        _tell(f"{why}; judging the run")


def _tell(words: str) -> None:
    """After SIGHUP there is perhaps nobody to hear it."""
    with contextlib.suppress(OSError):
        tell(console(), words)


@contextlib.contextmanager
def _resting(progress: Status) -> Iterator[None]:
    progress.stop()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            progress.start()


@contextlib.contextmanager
def _signals(ended: Ended, obeyed: list[int]) -> Iterator[None]:
    """They end the look. Those that mean the whole program are remembered."""

    def end(number: int, _: object) -> None:
        ended.put(f"ended by {SIGNALS[signal.Signals(number)]}")
        if number != signal.SIGINT:
            obeyed.append(number)

    with handled(SIGNALS, end):
        yield


@contextlib.contextmanager
def _name_of(cluster: LiveCluster) -> Iterator[str]:
    """The scenario's own name, as far as a cluster can have it, with a number if others have it."""
    scenario = cluster.recording.manifest.name
    fit = re.sub(r"[^a-z0-9]+", "-", scenario.partition("[")[0].lower()).strip("-")[:28].strip("-") or "kept"
    with contextlib.ExitStack() as exits:
        for number in itertools.count(1):
            name = fit if number == 1 else f"{fit}-{number}"
            with contextlib.suppress(RegistryError):
                exits.enter_context(registry.taken(name))
                break
        yield name


def _explain(name: str, control: Control, finding: Finding, cluster: LiveCluster) -> None:
    out = console()
    tell(out, f"{cluster.recording.manifest.name} went wrong; its cluster is kept as it was:")
    for line in telling.finding(finding):
        tell(out, f"  {line}")
    out.print(cluster_table(control.commands.status()), soft_wrap=not out.is_terminal)
    tell(out, "from another terminal:")
    for command in COMMANDS:
        tell(out, f"  python -m bench {command} --name {name}")
    tell(out, "logs and data:")
    tell(out, f"  {cluster.recording.folder}")
    keys = "a key, " if _has_keys() else ""
    tell(out, f"it ends by {keys}Ctrl-C or down; what happens to it is no part of the run")
    sys.stdout.flush()


def _wait(ended: Ended) -> str:
    """Until it is to end; returns why."""
    with _keys() as was_pressed:
        while True:
            with contextlib.suppress(queue.Empty):
                return ended.get(timeout=LOOK_S)
            if was_pressed():
                return "ended by a key"


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], bool]]:
    """Whether a key has been pressed, where there are keys."""
    if not _has_keys():
        yield lambda: False
        return
    keyboard = sys.stdin.fileno()
    former = termios.tcgetattr(keyboard)

    def was_pressed() -> bool:
        # With SIGHUP the terminal goes too, and cannot be read from.
        with contextlib.suppress(OSError):
            return bool(select.select([keyboard], [], [], 0)[0] and os.read(keyboard, 1024))
        return False

    try:
        tty.setcbreak(keyboard)
        yield was_pressed
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(keyboard, termios.TCSANOW, former)


def _has_keys() -> bool:
    """Not if another program has the terminal now, since asking for a key would stop this one."""
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
