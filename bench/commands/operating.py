"""join, leave, transfer, snapshot: what operators ask of a running cluster."""

from __future__ import annotations

import click

from bench.commands.options import complete_nodes, name_option
from bench.live.remote import ask


@click.command("join", epilog="Example: python -m bench join n4")
@click.argument("node", shell_complete=complete_nodes)
@name_option
def join_command(node: str, name: str) -> None:
    """Have the leader add NODE to the cluster.

    It returns once NODE votes. `up --spare` starts nodes that may join, and a node that has left may join again.
    """
    click.echo(f"{ask(name, 'join', node=node)['node']} is a voter")


@click.command("leave", epilog="Example: python -m bench leave n3")
@click.argument("node", shell_complete=complete_nodes)
@name_option
def leave_command(node: str, name: str) -> None:
    """Have the leader remove NODE from the cluster.

    It returns once NODE is no member any more. NODE runs on, but belongs to no cluster.
    """
    click.echo(f"{ask(name, 'leave', node=node)['node']} is no member any more")


@click.command("transfer", epilog="Example: python -m bench transfer n2")
@click.argument("node", required=False, shell_complete=complete_nodes)
@name_option
def transfer_command(node: str | None, name: str) -> None:
    """Have the leader hand over, to NODE or to whom it chooses.

    It returns once another leads.
    """
    click.echo(f"{ask(name, 'transfer', node=node)['node']} leads")


@click.command("snapshot", epilog="Example: python -m bench snapshot leader")
@click.argument("node", shell_complete=complete_nodes)
@name_option
def snapshot_command(node: str, name: str) -> None:
    """Have NODE take a snapshot now.

    NODE is a name, leader or follower. It returns once NODE has taken it.
    """
    click.echo(f"{ask(name, 'snapshot', node=node)['node']} has taken a snapshot")
