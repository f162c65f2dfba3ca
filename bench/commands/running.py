"""list and run: the scenarios."""

from __future__ import annotations

import sys

import click
from rich.table import Table

from bench.commands.options import profile_option, runs_folder
from bench.commands.showing import console
from bench.live.cluster import LiveCluster
from bench.runner import Run, run
from bench.scenarios import SCENARIOS, Scenario, find
from bench.verdict import Verdict
from faults.acquire import find_server

COLOURS = {Verdict.VALID: "green", Verdict.INVALID: "bold red", Verdict.UNKNOWN: "yellow"}


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


@click.command("run", epilog="Example: python -m bench run three_nodes kill_leader split_brain")
@click.argument("scenarios", nargs=-1, required=True)
@click.option("--nodes", type=click.IntRange(1, 9), help="Another size of cluster than the scenario's own.")
@profile_option("low-latency")
@click.option("--keep", is_flag=True, help="On failure, leave the cluster up for a look until Ctrl-C.")
def run_command(scenarios: tuple[str, ...], nodes: int | None, profile: str, keep: bool) -> None:
    """Run SCENARIOS, or whole families of them, each on a cluster of its own, and judge them."""
    chosen = [scenario for name in scenarios for scenario in find(name)]
    for scenario in chosen:
        if nodes is not None and nodes < scenario.minimum:
            raise click.UsageError(f"{scenario.name} needs at least {scenario.minimum} nodes")
    out = console()
    finished: list[Run] = []
    with out.status("starting") as progress:
        server = find_server(progress.update)
        for number, scenario in enumerate(chosen, 1):
            progress.update(f"{number} of {len(chosen)}: {scenario.name}")
            on_failure = _look if keep else None
            done = run(scenario, runs=runs_folder(), server=server, nodes=nodes, profile=profile, on_failure=on_failure)
            finished.append(done)
            out.print(f"[{COLOURS[done.verdict]}]{done.verdict:8}[/] {done.seconds:5.1f} s  {done.scenario.name}")
            if done.verdict is not Verdict.VALID:
                out.print(done.explain(), markup=False, soft_wrap=True)
    verdicts = [done.verdict for done in finished]
    out.print(f"{verdicts.count(Verdict.VALID)} of {len(verdicts)} VALID; evidence in {runs_folder().absolute()}")
    worst = Verdict.INVALID if Verdict.INVALID in verdicts else max(verdicts, key=lambda v: v.exit_status)
    sys.exit(worst.exit_status)


def _look(cluster: LiveCluster) -> None:
    """Keep a failed cluster up until somebody has seen enough."""
    click.echo("the scenario failed; its cluster stays up until Ctrl-C:")
    for node in cluster.nodes:
        click.echo(f"  {node} {cluster.state(node)} {cluster.http_url(node)} {cluster.node_folder(node)}")
    click.pause("press a key, or Ctrl-C, to go on")
