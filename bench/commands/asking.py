"""get, put, delete: what a client asks of a running cluster."""

from __future__ import annotations

from typing import Any

import click

from bench.commands.options import complete_nodes, name_option
from bench.live.remote import RemoteError, ask
from bench.operations import Freshness, Outcome

CONSISTENCY = {
    "default": Freshness.STALE,
    "leader": Freshness.LEASE,
    "consistent": Freshness.LINEARIZABLE,
}

node_option = click.option(
    "--node",
    metavar="NODE",
    shell_complete=complete_nodes,
    help="Ask this node first; otherwise the leader, or any that runs.",
)


class Key(click.ParamType[str]):
    """What can stand in the path of one request."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or "/" in value or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            self.fail(f"{value!r} is no key; a key has no slash and no line break, and is not empty", param, ctx)
        return str(value)


@click.command("get", epilog="Example: python -m bench get greeting --consistency consistent")
@click.argument("key", type=Key())
@click.option(
    "--consistency",
    type=click.Choice(list(CONSISTENCY)),
    default="default",
    show_default=True,
    help="What the node has applied, what its lease vouches for, or the newest.",
)
@node_option
@name_option
def get_command(key: str, consistency: str, node: str | None, name: str) -> None:
    """Print the value of KEY.

    The question goes through the client links, follows redirects, and stands in the run's history.
    """
    told = _asked(name, "get", key=key, freshness=CONSISTENCY[consistency].value, node=node)
    if told["value"] is None:
        raise RemoteError(f"there is no key {key}, says {told['node']}")
    click.echo(told["value"])


@click.command("put", epilog="Example: python -m bench put greeting hello")
@click.argument("key", type=Key())
@click.argument("value")
@node_option
@name_option
def put_command(key: str, value: str, node: str | None, name: str) -> None:
    """Write VALUE at KEY; returns once it is acknowledged."""
    told = _asked(name, "put", key=key, value=value, node=node)
    click.echo(f"{key} = {value}, acknowledged by {told['node']} at index {told['index']}")


@click.command("delete", epilog="Example: python -m bench delete greeting --node follower")
@click.argument("key", type=Key())
@node_option
@name_option
def delete_command(key: str, node: str | None, name: str) -> None:
    """Delete KEY; returns once that is acknowledged."""
    told = _asked(name, "delete", key=key, node=node)
    click.echo(f"{key} is deleted, acknowledged by {told['node']} at index {told['index']}")


def _asked(name: str, command: str, **arguments: object) -> dict[str, Any]:
    """The answer, if it was done. Raises RemoteError if it was not, or may yet be."""
    told = ask(name, command, **arguments)
    if told["outcome"] == Outcome.UNKNOWN:
        raise RemoteError(f"{told['node']} did not say ({told['reason']}): it may have happened, or may yet")
    if told["outcome"] == Outcome.FAILED:
        raise RemoteError(
            f"{told['node']} refused: {told['reason']}; nothing has happened. See: python -m bench status"
        )
    return told
