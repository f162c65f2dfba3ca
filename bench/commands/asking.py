"""get, put, delete: what a client asks of a running cluster, through its links, and into the history of the run."""

from __future__ import annotations

import click

from bench.commands.options import Key, Text, complete_nodes, name_option
from bench.live.remote import ask
from bench.operations import Freshness
from bench.words import short

CONSISTENCIES = {"default": Freshness.STALE, "leader": Freshness.LEASE, "consistent": Freshness.LINEARIZABLE}
"""As the nodes' own API calls them."""

node_option = click.option(
    "--node",
    shell_complete=complete_nodes,
    help="Whom to ask first: a name, leader or follower. Without it the leader, or if nobody leads any node that runs. "
    "Redirects are followed either way.",
)


@click.command("get", epilog="Example: python -m bench get greeting --node follower --consistency consistent")
@click.argument("key", type=Key())
@node_option
@click.option(
    "--consistency",
    type=click.Choice(list(CONSISTENCIES)),
    default="default",
    show_default=True,
    help="What a node has (default), what the leader has under its lease (leader), or the newest for certain "
    "(consistent).",
)
@name_option
def get_command(key: str, node: str | None, consistency: str, name: str) -> None:
    """Print the value of KEY, asked for as a client.

    The question goes through the client links and their faults, and is in the history of the run.
    """
    click.echo(ask(name, "get", key=key, node=node, freshness=CONSISTENCIES[consistency])["value"])


# Unknown options are ignored, so that -5 is a value.
@click.command(
    "put", context_settings={"ignore_unknown_options": True}, epilog="Example: python -m bench put greeting hello"
)
@click.argument("key", type=Key())
@click.argument("value", type=Text())
@node_option
@name_option
def put_command(key: str, value: str, node: str | None, name: str) -> None:
    """Write VALUE under KEY, asked for as a client.

    It returns once a node has acknowledged the write. A node that does not say leaves open whether it happened.
    """
    written = ask(name, "put", key=key, value=value, node=node)
    shown = short(value) if value.isprintable() else repr(short(value))
    click.echo(f"{key} = {shown}, {_acknowledged(written)}")


@click.command("delete", epilog="Example: python -m bench delete greeting")
@click.argument("key", type=Key())
@node_option
@name_option
def delete_command(key: str, node: str | None, name: str) -> None:
    """Delete KEY, asked for as a client.

    It returns once a node has acknowledged that.
    """
    click.echo(f"{key} is deleted, {_acknowledged(ask(name, 'delete', key=key, node=node))}")


def _acknowledged(written: dict[str, object]) -> str:
    return f"acknowledged by {written['node']} (index {written['index']})"
