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
from click.shell_completion import CompletionItem

COMMANDS = {
    "up": "bench.commands.up",
    "clusters": "bench.commands.clusters",
    "status": "bench.commands.watching",
    "watch": "bench.commands.watching",
    "leader": "bench.commands.watching",
    "logs": "bench.commands.watching",
    "get": "bench.commands.asking",
    "put": "bench.commands.asking",
    "delete": "bench.commands.asking",
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
    "copy-disk": "bench.commands.breaking",
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
    "completion": "bench.commands.completion",
}


LONGEST_ABOUT = 80
COMPLETION = "_BENCH_COMPLETE"
"""The environment variable by which a shell asks how words go on (`bench.commands.completion`)."""


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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Commands with what they do, which click would cut short."""
        found = super().shell_complete(ctx, incomplete)
        commands = {item.value: self.get_command(ctx, item.value) for item in found}
        about = {name: command.get_short_help_str(LONGEST_ABOUT) for name, command in commands.items() if command}
        return [CompletionItem(item.value, item.type, about.get(item.value)) for item in found]

    def invoke(self, ctx: click.Context) -> Any:
        from bench.commands.failing import in_one_line

        with in_one_line():
            return super().invoke(ctx)


HELP = ("-h", "--help")


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from bench.commands.version import version

        click.echo(version())
        ctx.exit()


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": list(HELP)},
    epilog="Exit status: 0 done, VALID or SKIPPED, 1 INVALID, 2 not possible as asked, or UNKNOWN, "
    "130 interrupted.\n\n"
    "\b\nExamples:\n"
    "  python -m bench up 3\n"
    "  python -m bench isolate leader    (in another terminal)\n"
    "  python -m bench run all --world simulated",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Say by which sources, Python and toxiproxy-server it runs, and exit.",
)
def cli() -> None:
    """A Raft cluster of real processes on this machine, and the faults to break it with."""


def _starts_processes(arguments: Sequence[str]) -> bool:
    match arguments:
        case [_, *more] if set(HELP) & set(more):
            return False
        case ["up" | "measure", *_]:
            return True
        case ["run", *more]:
            return "simulated" not in more
        case ["play", *more]:
            return "live" in more
    return False


def main() -> None:
    # Before anything else is imported, so that the forkserver imports the node on another core meanwhile.
    if _starts_processes(sys.argv[1:]):
        from bench.systems.early import preload

        preload()
    cli(prog_name="python -m bench", complete_var=COMPLETION)
