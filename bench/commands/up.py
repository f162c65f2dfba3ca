"""up: start a cluster, show it, and leave nothing behind."""

from __future__ import annotations

import contextlib
import errno
import queue
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import psutil
from rich.console import Console
from rich.live import Live

from bench import store
from bench.case import Plan, plan
from bench.checkers import SAFETY, the_bench_did_not_interfere
from bench.commands.getting import get_toxiproxy
from bench.commands.options import NodeCount, name_as_typed, name_option, profile_option, runs_folder, state_folder
from bench.commands.showing import cluster_table, console, tell, where_kept
from bench.judging import name_of
from bench.live import registry
from bench.live.cluster import LiveCluster
from bench.live.control import Control
from bench.live.serving import Ended, controlled, registered
from bench.manifest import RunKind
from bench.operations import Outcome
from bench.systems import find_system
from faults import lifeline
from faults.processes import redirect_output

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""What ends the cluster in good order, and what it is called."""
UNHEARD = "ended, because nobody reads any more what it prints"
REFRESH_S = 0.5
DETACH_DEADLINE_S = 600


@click.command("up", epilog="Example: python -m bench up 3 --profile low-latency")
@click.argument("nodes", type=NodeCount(1, 9))
@profile_option("default")
@click.option("--spare", type=click.IntRange(0, 6), default=0, help="How many more nodes run and may join.")
@click.option(
    "--detach", is_flag=True, help="Return once the first write is acknowledged; end it with: python -m bench down."
)
@click.option("--detached", is_flag=True, hidden=True, help="What --detach runs: what it says goes to its run.")
@name_option
def up_command(nodes: int, profile: str, spare: int, detach: bool, detached: bool, name: str) -> None:
    """Start a cluster of NODES (1 to 9) and show it until Ctrl-C."""
    registry.check_free(name)
    runs = runs_folder()
    state_folder()
    lifeline.wanted()
    planned = plan(nodes, spare=spare, profile=profile)
    if detach:
        _detach(name)
        return
    with registry.taken(name):
        _run(planned, profile, name, runs, detached)


def _run(planned: Plan, profile: str, name: str, runs: Path, detached: bool) -> None:
    ended: Ended = queue.SimpleQueue()
    out = console()
    before_s = time.monotonic()
    server = get_toxiproxy()
    got_s = time.monotonic() - before_s
    # Only now: getting Toxiproxy can take a minute, and Ctrl-C must end that at once.
    for number, words in SIGNALS.items():
        signal.signal(number, lambda *_, words=words: ended.put(f"ended by {words}"))
    begun = store.begin(
        runs,
        kind=RunKind.UP,
        name=f"up-{name}",
        world="live",
        plan=planned,
        profile=profile,
        # The run is not judged when it ends, since that must be quick; `check` judges it later.
        checks=map(name_of, (*SAFETY, the_bench_did_not_interfere)),
    )
    with begun as recording:
        cluster = LiveCluster(planned, recording, system=find_system(planned.system), server=server)
        with contextlib.ExitStack() as exits:
            with out.status(f"starting {len(planned.nodes)} nodes and Toxiproxy"):
                exits.enter_context(cluster)
            _say(out, _serve(cluster, name, ended, out, got_s, detached))
        recording.finish(store.Findings())
    _say(out, where_kept(store.read(recording.folder)))


def _serve(cluster: LiveCluster, name: str, ended: Ended, out: Console, got_s: float, detached: bool) -> str:
    """Show the cluster until it is to end; returns why. It took `got_s` before to get Toxiproxy."""
    with controlled(cluster, ended) as control:
        leader = cluster.wait_until(lambda: _first_write(cluster), "a first write") or ""
        seconds = time.time() - psutil.Process().create_time() - got_s
        if detached:
            # Whoever started it has been told until now what goes wrong.
            redirect_output(cluster.recording.output)
        with registered(name, cluster, control):
            try:
                _explain(cluster, name, leader, seconds, out)
                return _show(control, ended, out)
            except (BrokenPipeError, SystemExit):  # rich ends the program when its reader is gone.
                return UNHEARD
            except OSError as error:
                if error.errno != errno.EIO:  # The terminal is gone.
                    raise
                return UNHEARD


def _say(out: Console, words: str) -> None:
    """Say it, if there is anybody to hear: after SIGHUP the terminal is gone."""
    with contextlib.suppress(OSError):
        out.print(words, markup=False, soft_wrap=True)


def _first_write(cluster: LiveCluster) -> str | None:
    """The node that acknowledged it. This is not always the first leader, which on a busy machine may have lost its
    lease."""
    leader = cluster.wait_for_leader()
    return leader if cluster.client(leader).put("bench/first", "write").outcome is Outcome.OK else None


def _explain(cluster: LiveCluster, name: str, leader: str, seconds: float, out: Console) -> None:
    out.print(f"[bold]{len(cluster.nodes)} nodes, first write acknowledged after {seconds:.2f} s[/]")
    for example in cluster.system.examples(cluster.node_plan(leader)):
        out.print(f"  {example}", soft_wrap=True)
    tell(out, "from another terminal, beside kill: isolate, split, cut, delay, limit, heal, join, leave, down")
    tell(out, f"  python -m bench kill leader{name_as_typed(name)}")
    out.print(f"logs and data: {cluster.recording.folder}", soft_wrap=True)


def _show(control: Control, ended: Ended, out: Console) -> str:
    """The live table on a terminal; elsewhere the table once. Returns why it is over."""
    if not out.is_terminal:
        out.print(cluster_table(_status(control)), soft_wrap=True)
        sys.stdout.flush()
        while not (why := _why_ended(ended)):
            pass
        return why
    with Live(cluster_table(_status(control)), console=out, auto_refresh=False) as live:
        while not (why := _why_ended(ended)):
            live.update(cluster_table(_status(control)), refresh=True)
    return why


def _why_ended(ended: Ended) -> str | None:
    """Wait for the end, but no longer than until the table is due again."""
    try:
        return ended.get(timeout=REFRESH_S)
    except queue.Empty:
        return None


def _status(control: Control) -> dict[str, Any]:
    return control.commands.status()


def _detach(name: str) -> None:
    """Run the same command in a session of its own; returns once that is registered, which is after its first write."""
    # Here, where somebody sees how far that is.
    get_toxiproxy()
    argv = [sys.executable, "-m", "bench", *("--detached" if word == "--detach" else word for word in sys.argv[1:])]
    # A file without a name: it is gone when the last has closed it, however that one ends.
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            with console().status("starting"):
                folder = _wait_for(child, name)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        if folder is None:
            said.seek(0)
            status = child.wait()
            words = said.read().decode(errors="replace").strip()
            click.echo(words or f"bench: what was to run in the background ended with exit status {status}", err=True)
            sys.exit(2)
    from bench.live.remote import ask

    out = console()
    out.print(cluster_table(ask(name, "status")), soft_wrap=True)
    out.print(f"running in the background (pid {child.pid}); end it with: python -m bench down{name_as_typed(name)}")
    out.print(f"what it says goes to {folder / store.OUTPUT}", soft_wrap=True)


def _wait_for(child: subprocess.Popen[bytes], name: str) -> Path | None:
    """The folder of its run once its cluster is registered; None if it has ended instead."""
    deadline_s = time.monotonic() + DETACH_DEADLINE_S
    while child.poll() is None:
        entry = registry.look_up(name)
        # Another cluster may have got the name meanwhile.
        if entry is not None and entry.pid == child.pid:
            return Path(entry.folder)
        if time.monotonic() > deadline_s:
            child.terminate()
        time.sleep(0.02)
    return None
