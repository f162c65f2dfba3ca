"""status, leader, logs: looking at a running cluster."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.live import Live

from bench.commands.options import complete_nodes, name_option
from bench.live import registry
from bench.live.remote import RemoteError, ask

FOLLOW_PAUSE_S = 0.1
WATCH_PAUSE_S = 0.2


@click.command("status", epilog="Example: python -m bench status --json")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@name_option
def status_command(as_json: bool, name: str) -> None:
    """Show every node and every link that is not simply up."""
    status = ask(name, "status")
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    from bench.commands.showing import cluster_table, console

    console().print(cluster_table(status), soft_wrap=True)


@click.command("watch", epilog="Example: python -m bench watch")
@name_option
def watch_command(name: str) -> None:
    """Show roles and links as they change, until the cluster ends.

    Through a pipe there is a line for each change, with the seconds since it began to watch.
    """
    from bench.commands.showing import changes, cluster_table, console

    out, began_s = console(), time.monotonic()
    former: dict[str, Any] = {}
    view = Live(console=out, auto_refresh=False) if out.is_terminal else contextlib.nullcontext()
    with view as live:
        for status in _statuses(name):
            if live is not None:
                live.update(cluster_table(status), refresh=True)
            else:
                for line in changes(former, status):
                    click.echo(f"{time.monotonic() - began_s:9.3f}  {line}")
            former = status


def _statuses(name: str) -> Iterator[dict[str, Any]]:
    """One after the other, as long as the cluster runs. Raises RemoteError if it does not run at all."""
    yield ask(name, "status")
    while registry.look_up(name) is not None:
        time.sleep(WATCH_PAUSE_S)
        try:
            status = ask(name, "status")
        except RemoteError:
            if registry.look_up(name) is None:
                return
            raise
        yield status


@click.command("leader", epilog="Example: python -m bench leader")
@name_option
def leader_command(name: str) -> None:
    """Print the name of the node that leads now."""
    click.echo(ask(name, "resolve", node="leader")["node"])


@click.command("logs", epilog="Example: python -m bench logs -f leader")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what comes.")
@click.argument("node", required=False, shell_complete=complete_nodes)
@name_option
def logs_command(follow: bool, node: str | None, name: str) -> None:
    """Print the nodes' logs, all in one stream, or one NODE's.

    NODE is a name, leader or follower.
    """
    wanted = ask(name, "resolve", node=node)["node"] if node else None
    with Path(ask(name, "status")["log"]).open() as stream:
        while True:
            line = stream.readline()
            if line and (wanted is None or line.split(maxsplit=1)[:1] == [wanted]):
                click.echo(line, nl=False)
            if not line:
                if not follow or registry.look_up(name) is None:
                    return
                time.sleep(FOLLOW_PAUSE_S)
