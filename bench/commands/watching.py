"""status, watch, leader, logs: looking at a running cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from bench.commands.options import complete_nodes, name_option
from bench.live import registry
from bench.live.remote import RemoteError, ask
from bench.live.waiting import wait_until

FOLLOW_PAUSE_S = 0.1
WATCH_PAUSE_S = 0.2
END_DEADLINE_S = 30


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


@click.command("watch", epilog="Example: python -m bench watch | grep Leader")
@name_option
def watch_command(name: str) -> None:
    """Show what status shows, live, until the cluster ends.

    In a pipe it prints a line for each change of a node's role, term or state and of a link, with the seconds since it
    began.
    """
    from bench.commands.showing import cluster_table, console

    began_s, out = time.monotonic(), console()
    if out.is_terminal:
        from rich.live import Live

        with Live(console=out, auto_refresh=False) as live:
            for status in _statuses(name):
                live.update(cluster_table(status), refresh=True)
    else:
        from bench.commands.changes import changes

        former: Mapping[str, Any] = {}
        for status in _statuses(name):
            for words in changes(former, status):
                click.echo(f"{time.monotonic() - began_s:8.2f}  {words}")
            former = status
    click.echo(f"{name} has ended")


def _statuses(name: str) -> Iterator[dict[str, Any]]:
    """The cluster's status, again and again until it ends. Raises RemoteError if there is none, or it hangs."""
    entry = registry.look_up(name)
    # The first answer says whether there is a cluster at all.
    yield ask(name, "status")
    while registry.look_up(name) == entry:
        time.sleep(WATCH_PAUSE_S)
        try:
            status = ask(name, "status")
        except RemoteError:
            # It answers no more a little before its end is seen from here.
            wait_until(lambda: registry.look_up(name) != entry, f"{name} answers, or has ended", END_DEADLINE_S)
            return
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
