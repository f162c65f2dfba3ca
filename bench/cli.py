"""The commands of ``python -m bench``: this file is the table; the commands themselves are in `bench.commands`.

A module is imported when its command is called, so that ``--help`` and the small commands stay quick, and so that
``up`` can start the forkserver before anything heavy is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

COMMANDS = {
    "up": "bench.commands.up",
    "status": "bench.commands.watching",
    "leader": "bench.commands.watching",
    "logs": "bench.commands.watching",
    "kill": "bench.commands.breaking",
    "restart": "bench.commands.breaking",
    "pause": "bench.commands.breaking",
    "resume": "bench.commands.breaking",
    "isolate": "bench.commands.breaking",
    "split": "bench.commands.breaking",
    "cut": "bench.commands.breaking",
    "delay": "bench.commands.breaking",
    "limit": "bench.commands.breaking",
    "fill-disk": "bench.commands.breaking",
    "heal": "bench.commands.breaking",
    "join": "bench.commands.operating",
    "leave": "bench.commands.operating",
    "transfer": "bench.commands.operating",
    "snapshot": "bench.commands.operating",
    "down": "bench.commands.breaking",
    "list": "bench.commands.running",
    "run": "bench.commands.running",
    "measure": "bench.commands.measuring",
    "explore": "bench.commands.exploring",
    "play": "bench.commands.playing",
    "runs": "bench.commands.storing",
    "show": "bench.commands.storing",
    "check": "bench.commands.storing",
    "doctor": "bench.commands.doctor",
}


class _Lazy(click.Group):
    """Imports a command when it is called, and tells users of their mistakes without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        function = f"{cmd_name.replace('-', '_')}_command"
        found: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), function)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        from bench.commands.failing import in_one_line

        with in_one_line():
            return super().invoke(ctx)


@click.group(
    cls=_Lazy,
    epilog="Exit status: 0 done, VALID or SKIPPED, 1 INVALID, 2 not possible as asked, or UNKNOWN, "
    "130 interrupted. "
    "Example: python -m bench up 3, and in another terminal: python -m bench isolate leader",
)
def cli() -> None:
    """A Raft cluster of real processes on this machine, and the faults to break it with."""


def _starts_processes(arguments: Sequence[str]) -> bool:
    match arguments:
        case ["up" | "measure", *more]:
            return "--help" not in more
        case ["run", *more]:
            return not {"--help", "simulated"} & set(more)
        case ["play", *more]:
            return "live" in more
    return False


def main() -> None:
    # Before anything else is imported, so that the forkserver imports the node on another core meanwhile.
    if _starts_processes(sys.argv[1:]):
        from bench.systems.early import preload

        preload()
    cli(prog_name="python -m bench")
