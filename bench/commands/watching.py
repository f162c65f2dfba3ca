"""status, leader, logs: looking at a running cluster."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from bench.commands.options import complete_nodes, name_option
from bench.live import registry
from bench.live.remote import ask

FOLLOW_PAUSE_S = 0.1


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
