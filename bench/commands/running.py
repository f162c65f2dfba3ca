"""list and run: the scenarios."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.commands.options import NodeCount, Seeds, profile_option, runs_folder
from bench.commands.showing import console
from bench.live.cluster import LiveCluster
from bench.runner import Run, run
from bench.scenarios import SCENARIOS, Scenario, find
from bench.verdict import Verdict, combined
from bench.worlds import LiveWorld, SimulatedWorld
from faults import lifeline
from faults.acquire import find_server

COLOURS = {Verdict.VALID: "green", Verdict.INVALID: "bold red", Verdict.UNKNOWN: "yellow", Verdict.SKIPPED: "dim"}


@click.command("list", epilog="Example: python -m bench list")
@click.option("--all", "every", is_flag=True, help="Each member of a family too.")
def list_command(every: bool) -> None:
    """List the scenarios with what each promises."""
    table = Table(box=None, pad_edge=False)
    for heading in ("scenario", "nodes", "promise"):
        table.add_column(heading)
    families: dict[str, list[Scenario]] = {}
    for scenario in SCENARIOS.values():
        families.setdefault(scenario.name if every else scenario.family, []).append(scenario)
    for name, members in families.items():
        sizes = ", ".join(map(str, sorted({member.nodes for member in members})))
        table.add_row(name if len(members) == 1 else f"{name} ({len(members)})", sizes, members[0].promise)
    console().print(table)


@click.command("run", epilog="Example: python -m bench run kill_leader split_brain --world simulated --seeds 0-99")
@click.argument("scenarios", nargs=-1, required=True)
@click.option("--world", type=click.Choice(["live", "simulated"]), default="live", show_default=True)
@click.option("--seed", "seeds", type=Seeds(), help="The seed of a simulated world; 0 if not given.")
@click.option("--seeds", "seeds", type=Seeds(), help="Several, the last one too: 0-99.")
@click.option("--nodes", type=NodeCount(1, 9), help="Another size of cluster than the scenario's own.")
@profile_option("low-latency")
@click.option("--keep", is_flag=True, help="On failure, leave the real cluster up for a look until Ctrl-C.")
def run_command(
    scenarios: tuple[str, ...], world: str, seeds: range | None, nodes: int | None, profile: str, keep: bool
) -> None:
    """Run SCENARIOS, or whole families of them, each on a cluster of its own, and judge them.

    Exit status: 0 all VALID, or SKIPPED because their world cannot play them; 1 one was INVALID; 2 one was UNKNOWN, or
    it was not possible as asked.
    """
    chosen = [scenario for name in scenarios for scenario in find(name)]
    for scenario in chosen:
        if nodes is not None and nodes < scenario.minimum:
            raise click.UsageError(f"{scenario.name} needs at least {scenario.minimum} nodes")
    if world == "live" and seeds is not None:
        raise click.UsageError("real processes have no seed; add --world simulated")
    if world == "simulated" and keep:
        raise click.UsageError("--keep is for real processes; a simulated run is repeated by its seed")
    folder = runs_folder().absolute()
    play = partial(run, runs=folder, nodes=nodes, profile=profile)
    out = console()
    finished: list[Run] = []
    with out.status("starting") as progress:
        plays = _simulated(play, seeds or range(1)) if world == "simulated" else _live(play, progress.update, keep)
        for number, scenario in enumerate(chosen, 1):
            progress.update(f"{number} of {len(chosen)}: {scenario.name}")
            runs = [play_one(scenario) for play_one in plays]
            finished += runs
            _tell(out, scenario, runs)
    _sum_up(out, finished, folder)
    verdicts = {done.verdict for done in finished}
    worst = Verdict.INVALID if Verdict.INVALID in verdicts else max(verdicts, key=lambda v: v.exit_status)
    sys.exit(worst.exit_status)


def _sum_up(out: Console, finished: list[Run], folder: Path) -> None:
    """How many were VALID, and where to read on about each that was not."""
    verdicts = [done.verdict for done in finished]
    skipped = f", {verdicts.count(Verdict.SKIPPED)} SKIPPED" if Verdict.SKIPPED in verdicts else ""
    kept = f"{verdicts.count(Verdict.VALID)} of {len(verdicts)} VALID{skipped}"
    out.print(f"{kept}; evidence in {folder}", soft_wrap=True)
    for done in finished:
        if done.verdict not in (Verdict.VALID, Verdict.SKIPPED):
            out.print(f"  {done.verdict:8} {done.scenario.name}: {done.folder}", markup=False, soft_wrap=True)


def _live(play: partial[Run], report: Callable[[str], None], keep: bool) -> list[Callable[[Scenario], Run]]:
    lifeline.wanted()
    return [partial(play, world=LiveWorld(find_server(report)), on_failure=_look if keep else None)]


def _simulated(play: partial[Run], seeds: range) -> list[Callable[[Scenario], Run]]:
    """A run for each seed."""
    return [partial(play, world=SimulatedWorld(seed)) for seed in seeds]


def _tell(out: Console, scenario: Scenario, runs: list[Run]) -> None:
    """One line for a scenario, however many seeds it was played with, and everything about what went wrong."""
    worst = combined([finding for done in runs for finding in done.findings])
    seconds = sum(done.seconds for done in runs)
    times = f" ({len(runs)} seeds)" if len(runs) > 1 else ""
    out.print(f"[{COLOURS[worst]}]{worst:8}[/] {seconds:5.1f} s  {escape(scenario.name)}{times}")
    for done in runs:
        if done.verdict is Verdict.SKIPPED:
            out.print(f"         {done.findings[0].reason}", markup=False)
        elif done.verdict is not Verdict.VALID:
            out.print(done.explain(), markup=False, soft_wrap=True)


def _look(cluster: LiveCluster) -> None:
    """Keep a failed cluster up until somebody has seen enough."""
    click.echo("the scenario failed; its cluster stays up until Ctrl-C:")
    for node in cluster.nodes:
        click.echo(f"  {node} {cluster.state(node)} {cluster.http_url(node)} {cluster.node_folder(node)}")
    click.pause("press a key, or Ctrl-C, to go on")
