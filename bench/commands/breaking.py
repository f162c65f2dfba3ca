"""kill, restart, pause, resume, isolate, split, cut, delay, limit, fill-disk, heal, down: what breaks a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.core import ParameterSource

from bench import store
from bench.cluster import WaitTimeoutError
from bench.commands.options import Milliseconds, complete_nodes, mode_option, name_as_typed, name_option
from bench.commands.showing import console, tell, where_kept
from bench.live import registry
from bench.live.remote import RemoteError, ask
from bench.live.waiting import wait_until
from bench.manifest import RunKind
from bench.store import RunState, StoreError
from bench.words import counted
from faults.links import Kind

HEALED_ALONE = [Kind.CUT.value, Kind.DELAY.value, Kind.LIMIT.value]
DOWN_DEADLINE_S = 30


def _on_node(name: str, help: str, done: str) -> click.Command:
    @click.command(name, help=help, epilog=f"Example: python -m bench {name} leader")
    @click.argument("node", shell_complete=complete_nodes)
    @name_option
    def command(node: str, **options: str) -> None:
        click.echo(f"{ask(options['name'], name, node=node)['node']} {done}")

    return command


kill_command = _on_node("kill", "kill -9 NODE (a name, leader or follower).", "is dead")
pause_command = _on_node("pause", "Stop NODE where it is (SIGSTOP).", "is paused")


@click.command("resume", epilog="Example: python -m bench resume")
@click.argument("node", required=False, shell_complete=complete_nodes)
@name_option
def resume_command(node: str | None, name: str) -> None:
    """Let a paused NODE go on (SIGCONT), or whoever is paused."""
    for resumed in ask(name, "resume", node=node)["nodes"]:
        click.echo(f"{resumed} goes on")


@click.command("restart", epilog="Example: python -m bench restart n1 --wipe")
@click.argument("node", shell_complete=complete_nodes)
@click.option("--wipe", is_flag=True, help="Start on an empty data folder, as after the loss of the disk.")
@click.option("--older", is_flag=True, help="Start on the data of the last copy-disk, as from a backup.")
@click.option("--without", metavar="KIND", default="", help="Start without these files: log, or snapshots.")
@name_option
def restart_command(node: str, wipe: bool, older: bool, without: str, name: str) -> None:
    """Start NODE again on the data it had.

    If it runs, it is killed first.

    A voter that has lost some of its data forgets whom it voted for and the entries it had acknowledged: it may help to
    elect a second leader in its term, or one without an acknowledged write. After the loss of a disk it is safe to
    remove the node (leave) and to join it under a new id.
    """
    done = ask(name, "restart", node=node, wipe=wipe, older=older, without=without)
    click.echo(f"{done['node']} is started again")


@click.command("copy-disk", epilog="Example: python -m bench copy-disk n1")
@click.argument("node", shell_complete=complete_nodes)
@name_option
def copy_disk_command(node: str, name: str) -> None:
    """Keep a copy of the data of NODE, which must be down.

    It takes the place of a former copy; `restart --older` starts the node on it.
    """
    click.echo(f"the data of {ask(name, 'copy-disk', node=node)['node']} are copied")


@click.command("isolate", epilog="Example: python -m bench isolate leader --mode hold")
@click.argument("node", shell_complete=complete_nodes)
@mode_option
@name_option
def isolate_command(node: str, mode: str, name: str) -> None:
    """Cut NODE off from all other nodes; clients still reach it."""
    _tell_cut(ask(name, "isolate", node=node, mode=mode), mode)


@click.command("split", epilog="Example: python -m bench split n1,n2 n3")
@click.argument("groups", nargs=-1, required=True)
@mode_option
@name_option
def split_command(groups: tuple[str, ...], mode: str, name: str) -> None:
    """Cut GROUPS of nodes (n1,n2 n3) off from one another."""
    if len(groups) < 2:
        raise click.UsageError("a split has at least two groups, such as: n1,n2 n3")
    named = [group.split(",") for group in groups]
    for group, names in zip(groups, named, strict=True):
        if not all(names):
            raise click.UsageError(f"{group!r} has a comma without a node beside it; write a group as n1,n2")
    _tell_cut(ask(name, "split", groups=named, mode=mode), mode)


@click.command("cut", epilog="Example: python -m bench cut n1 n2 --one-way --mode refuse")
@click.argument("a", shell_complete=complete_nodes)
@click.argument("b", shell_complete=complete_nodes)
@click.option("--one-way", is_flag=True, help="Only what A sends to B.")
@mode_option
@name_option
def cut_command(a: str, b: str, one_way: bool, mode: str, name: str) -> None:
    """Cut what A and B send each other.

    `client` means everyone who uses the addresses shown. The same cut in another mode replaces the first. A delay
    remains beside a cut, and each can be healed alone.
    """
    _tell_cut(ask(name, "cut", a=a, b=b, one_way=one_way, mode=mode), mode)


# Unknown options are ignored, so that -5ms is refused as a negative duration and not as an unknown option.
@click.command(
    "delay",
    context_settings={"ignore_unknown_options": True},
    epilog="Example: python -m bench delay n1 n2 200ms --jitter 20ms",
)
@click.argument("a", shell_complete=complete_nodes)
@click.argument("b", shell_complete=complete_nodes)
@click.argument("latency", type=Milliseconds())
@click.option("--jitter", type=Milliseconds(), default=0, help="Up to so much more or less, and at most the latency.")
@name_option
def delay_command(a: str, b: str, latency: int, jitter: int, name: str) -> None:
    """Delay what A and B send each other.

    This replaces a former delay between them.
    """
    if jitter > latency:
        raise click.UsageError(f"a jitter of {jitter} ms is more than the latency of {latency} ms")
    links = ask(name, "delay", a=a, b=b, latency_ms=latency, jitter_ms=jitter)["links"]
    tell(console(), f"delayed by {latency} ms{f' ± {jitter} ms' if jitter else ''}: {', '.join(links)}")


@click.command("limit", epilog="Example: python -m bench limit n1 n2 16")
@click.argument("a", shell_complete=complete_nodes)
@click.argument("b", shell_complete=complete_nodes)
@click.argument("rate", type=click.IntRange(1, 1_048_576), metavar="KIB_PER_SECOND")
@name_option
def limit_command(a: str, b: str, rate: int, name: str) -> None:
    """Let no more than so many KiB a second pass between A and B.

    This replaces a former limit between them.
    """
    links = ask(name, "limit", a=a, b=b, rate_kib_s=rate)["links"]
    tell(console(), f"limited to {rate} KiB/s: {', '.join(links)}")


@click.command("fill-disk", epilog="Example: python -m bench fill-disk follower")
@click.argument("node", shell_complete=complete_nodes)
@name_option
def fill_disk_command(node: str, name: str) -> None:
    """Leave NODE no room to write anything more.

    It stops at its next write; `restart` gives it room again.
    """
    click.echo(f"{ask(name, 'fill-disk', node=node)['node']} can write nothing more")


@click.command("heal", epilog="Example: python -m bench heal n1 n2 --only delay")
@click.argument("a", required=False, shell_complete=complete_nodes)
@click.argument("b", required=False, shell_complete=complete_nodes)
@click.option("--only", type=click.Choice(HEALED_ALONE), help="Leave what else is on the links.")
@click.option("--once-met", is_flag=True, help="First wait until a message between nodes has met one of the faults.")
@name_option
def heal_command(a: str | None, b: str | None, only: str | None, once_met: bool, name: str) -> None:
    """Undo every cut, delay and limit, or those between A and B.

    That is both ways; `client` is as for cut.
    """
    answer = ask(name, "heal", a=a, b=b, only=only, once_met=once_met)
    healed = [f"{link}{' (bypassed)' * (link in answer['bypassed'])}" for link in answer["links"]]
    tell(console(), f"healed: {', '.join(healed)}" if healed else "nothing to heal")
    if answer["met"]:
        click.echo(f"met meanwhile: {counted(answer['met'], 'message')} between nodes")
    for link, state in answer["left"].items():
        click.echo(f"still on {link}: {state}")


@click.command("down", epilog="Example: python -m bench down --name other")
@click.option("--all", "every", is_flag=True, help="End every cluster that runs; it is no mistake if none does.")
@name_option
@click.pass_context
def down_command(ctx: click.Context, every: bool, name: str) -> None:
    """End the cluster.

    It returns when nothing of the cluster is left. Exit status: 0 it has ended; 2 it has not, or there is none of this
    name.
    """
    if not every:
        _take_down(name, name_as_typed(name))
        return
    if ctx.get_parameter_source("name") is not ParameterSource.DEFAULT:
        raise click.UsageError("--all is every cluster and --name is one; write either")
    names = registry.running()
    failed = [each for each in names if not _has_been_taken_down(each)]
    if not names:
        click.echo("no cluster is running")
    if failed:
        raise RemoteError(f"still running: {', '.join(failed)}")


def _take_down(name: str, typed: str) -> None:
    """Raises RemoteError, WaitTimeoutError, StoreError."""
    entry = registry.look_up(name)
    ending = ask(name, "down", by=f"python -m bench down{typed} (pid {os.getpid()})")
    run = store.read(Path(ending["folder"]))

    def is_over() -> bool:
        # Who keeps a cluster of a scenario goes on when that has ended.
        process_goes_on = run.manifest.kind is not RunKind.UP
        is_alive = entry is not None and registry.is_alive(entry)
        return not is_alive or (process_goes_on and run.state is not RunState.GOING_ON)

    wait_until(is_over, f"{name} has ended; kill -9 of its process is safe too", DOWN_DEADLINE_S)
    click.echo(f"{name} is down; ended: {', '.join([*ending['nodes'], 'Toxiproxy'])}")
    click.echo(where_kept(run))


def _has_been_taken_down(name: str) -> bool:
    """One that does not obey is told of, and keeps nobody from the others."""
    try:
        _take_down(name, " --all")
    except (RemoteError, WaitTimeoutError, StoreError) as error:
        click.echo(f"bench: {error}", err=True)
        return False
    return True


def _tell_cut(answer: dict[str, list[str]], mode: str) -> None:
    tell(console(), f"cut ({mode}): {', '.join(answer['links'])}")
