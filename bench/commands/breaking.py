"""kill, restart, pause, resume, isolate, split, cut, delay, limit, fill-disk, heal, down: what breaks a cluster."""

from __future__ import annotations

from pathlib import Path

import click

from bench import store
from bench.commands.options import Milliseconds, complete_nodes, mode_option, name_option
from bench.commands.showing import size_in_words
from bench.live import registry
from bench.live.remote import ask
from bench.live.waiting import wait_until
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
@click.option("--wipe", is_flag=True, help="On an empty data folder, as after the loss of its disk.")
@name_option
def restart_command(node: str, wipe: bool, name: str) -> None:
    """Start NODE again on the data it had.

    If it runs, it is killed first.

    With --wipe a voter forgets whom it voted for and the entries it had acknowledged: it may help to elect a second
    leader in its term, or one without an acknowledged write. After the loss of a disk it is safe to remove the node
    (DELETE /cluster/leave/ID) and to join it under a new id.
    """
    click.echo(f"{ask(name, 'restart', node=node, wipe=wipe)['node']} is started again")


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
    click.echo(f"delayed by {latency} ms{f' ± {jitter} ms' if jitter else ''}: {', '.join(links)}")


@click.command("limit", epilog="Example: python -m bench limit n1 n2 16")
@click.argument("a", shell_complete=complete_nodes)
@click.argument("b", shell_complete=complete_nodes)
@click.argument("rate", type=click.IntRange(1, 1_048_576), metavar="KIB_PER_SECOND")
@name_option
def limit_command(a: str, b: str, rate: int, name: str) -> None:
    """Let no more than so many KiB a second pass between A and B.

    This replaces a former limit between them.
    """
    click.echo(f"limited to {rate} KiB/s: {', '.join(ask(name, 'limit', a=a, b=b, rate_kib_s=rate)['links'])}")


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
@name_option
def heal_command(a: str | None, b: str | None, only: str | None, name: str) -> None:
    """Undo every cut, delay and limit, or those between A and B.

    That is both ways; `client` is as for cut.
    """
    answer = ask(name, "heal", a=a, b=b, only=only)
    healed = [f"{link}{' (bypassed)' * (link in answer['bypassed'])}" for link in answer["links"]]
    click.echo(f"healed: {', '.join(healed)}" if healed else "nothing to heal")
    for link, state in answer["left"].items():
        click.echo(f"still on {link}: {state}")


@click.command("down", epilog="Example: python -m bench down")
@name_option
def down_command(name: str) -> None:
    """End the cluster; returns when nothing of it is left."""
    entry = registry.look_up(name)
    ending = ask(name, "down")
    wait_until(
        lambda: entry is None or not registry.is_alive(entry),
        f"{name} has ended; kill -9 of its process is safe too",
        DOWN_DEADLINE_S,
    )
    click.echo(f"{name} is down; ended: {', '.join([*ending['nodes'], 'Toxiproxy'])}")
    run = store.read(Path(ending["folder"]))
    click.echo(f"its run is kept in {run.folder} ({size_in_words(run.size_bytes)})")


def _tell_cut(answer: dict[str, list[str]], mode: str) -> None:
    click.echo(f"cut ({mode}): {', '.join(answer['links'])}")
