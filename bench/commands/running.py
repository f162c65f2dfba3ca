"""list and run: the scenarios, the bench's own and a user's."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.commands.options import Milliseconds, NodeCount, Seed, Seeds, profile_option, runs_folder
from bench.commands.showing import VERDICT_COLOURS, console
from bench.live.cluster import LiveCluster
from bench.runner import Run, run_scenario
from bench.scenarios import SCENARIOS, Scenario
from bench.scenarios.files import named
from bench.verdict import Verdict, worst
from bench.worlds import LiveWorld, SimulatedWorld
from faults import lifeline
from faults.acquire import find_server

MOST_NAMED = 20
"""How many of the failed runs are named at the end; each is told of when it fails."""


@click.command("list", epilog="Example: python -m bench list, or: python -m bench list my_scenarios.py")
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Each member of a family too.")
def list_command(names: tuple[str, ...], every: bool) -> None:
    """List the bench's own scenarios, or NAMES among them and in files, with what each promises."""
    table = Table(box=None, pad_edge=False)
    for heading in ("scenario", "nodes", "promise"):
        table.add_column(heading)
    families: dict[tuple[Path | None, str], list[Scenario]] = {}
    for scenario in named(names) if names else SCENARIOS.values():
        families.setdefault((scenario.file, scenario.name if every else scenario.family), []).append(scenario)
    for (_, name), members in families.items():
        sizes = ", ".join(map(str, sorted({member.nodes for member in members})))
        title = name if len(members) == 1 else f"{name} ({len(members)})"
        table.add_row(escape(title), sizes, escape(members[0].promise))
    console().print(table)


@click.command(
    "run",
    epilog="Example: python -m bench run kill_leader split_brain --world simulated --seeds 0-99, "
    "or: python -m bench run my_scenarios.py::mine",
)
@click.argument("scenarios", nargs=-1, required=True)
@click.option("--world", type=click.Choice(["live", "simulated"]), default="live", show_default=True)
@click.option("--seed", type=Seed(), help="The seed of a simulated world; 0 if not given.")
@click.option("--seeds", type=Seeds(), help="Several seeds, such as 0-99, which includes both ends.")
@click.option("--nodes", type=NodeCount(1, 9), help="Another size of cluster than the scenario's own.")
@profile_option("low-latency")
@click.option("--limit", type=Milliseconds(), help="How long a scenario may take: 90s; 5m unless it says otherwise.")
@click.option("--keep", is_flag=True, help="On failure, leave the real cluster up for a look until Ctrl-C.")
def run_command(
    scenarios: tuple[str, ...],
    world: str,
    seed: int | None,
    seeds: range | None,
    nodes: int | None,
    profile: str,
    limit: int | None,
    keep: bool,
) -> None:
    """Run SCENARIOS, each on a cluster of its own, and judge them. They are names, whole families, and files of your
    own; FILE.py::NAME is one scenario of a file.

    Exit status: 0 all VALID, or SKIPPED because their world cannot play them; 1 one was INVALID; 2 one was UNKNOWN, or
    it was not possible as asked.
    """
    _refuse_contradictions(world, seed, seeds, limit, keep)
    chosen = [_as_asked(scenario, nodes, limit) for scenario in named(scenarios)]
    folder = runs_folder().absolute()
    out, tally = console(), _Tally()
    with out.status("starting") as progress:
        play = _in_world(world, progress.update, keep)
        for number, scenario in enumerate(chosen, 1):
            own = _Tally()
            for which in seeds or [seed or 0]:
                progress.update(escape(f"{number} of {len(chosen)}: {scenario.name}, run {own.count + 1}"))
                done = play(scenario, runs=folder, nodes=nodes, profile=profile, seed=which)
                own.add(done)
                tally.add(done)
                if done.verdict is Verdict.SKIPPED:
                    break
                if done.verdict is not Verdict.VALID:
                    out.print(done.explain(), markup=False, soft_wrap=True)
            out.print(own.line(scenario), soft_wrap=True)
    for line in tally.summary(folder):
        out.print(line, markup=False, soft_wrap=True)
    _end(out, tally.verdict.exit_status)


def _refuse_contradictions(world: str, seed: int | None, seeds: range | None, limit: int | None, keep: bool) -> None:
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed is one and --seeds are several; write either")
    if world == "live" and (seed is not None or seeds is not None):
        raise click.UsageError("real processes have no seed; add --world simulated")
    if world == "simulated" and keep:
        raise click.UsageError("--keep is for real processes; a simulated run is repeated by its seed")
    if limit == 0:
        raise click.UsageError("no scenario ends within --limit 0s; write it as 90s or 10m")


def _as_asked(scenario: Scenario, nodes: int | None, limit: int | None) -> Scenario:
    if nodes is not None and nodes < scenario.minimum:
        raise click.UsageError(f"{scenario.name} needs at least {scenario.minimum} nodes")
    return scenario if limit is None else replace(scenario, limit_s=limit / 1000)


def _in_world(world: str, report: Callable[[str], None], keep: bool) -> Callable[..., Run]:
    """`run_scenario` in this world."""
    if world == "simulated":
        return partial(run_scenario, world=SimulatedWorld())
    lifeline.wanted()
    return partial(run_scenario, world=LiveWorld(find_server(report)), on_failure=_look if keep else None)


@dataclass
class _Tally:
    """What came of the runs; a million take no more memory than a few."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    seconds: float = 0.0
    last: Run | None = None
    wrong: list[Run] = field(default_factory=list)
    """The first of those that are neither VALID nor SKIPPED."""

    def add(self, done: Run) -> None:
        self.verdicts[done.verdict] += 1
        self.seconds += done.seconds
        self.last = done
        if done.verdict not in (Verdict.VALID, Verdict.SKIPPED) and len(self.wrong) < MOST_NAMED:
            self.wrong.append(done)

    @property
    def count(self) -> int:
        return self.verdicts.total()

    @property
    def verdict(self) -> Verdict:
        return worst(self.verdicts)

    def line(self, scenario: Scenario) -> str:
        """The line for one scenario, however many seeds it was played with."""
        times = f" ({self.count} seeds)" if self.count > 1 else ""
        why = self.last.findings if self.last is not None and self.verdict is Verdict.SKIPPED else ()
        name = escape("; ".join([f"{scenario.name}{times}", *(f"{one.check}: {one.reason}" for one in why)]))
        return f"[{VERDICT_COLOURS[self.verdict]}]{self.verdict:8}[/] {self.seconds:5.1f} s  {name}"

    def summary(self, folder: Path) -> Iterator[str]:
        """How many were VALID, and where to read on about those that were not."""
        skipped = self.verdicts[Verdict.SKIPPED]
        also = f", {skipped} SKIPPED" if skipped else ""
        yield f"{self.verdicts[Verdict.VALID]} of {self.count} VALID{also}; evidence in {folder}"
        for done in self.wrong:
            yield f"  {done.verdict:8} {done.name}: {done.folder}"
        more = self.verdicts[Verdict.INVALID] + self.verdicts[Verdict.UNKNOWN] - len(self.wrong)
        if more:
            yield f"  and {more} more"


def _end(out: Console, status: int) -> None:
    """End with this exit status, even if a story left a thread that would keep the program from ending."""
    left = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if not left:
        sys.exit(status)
    out.print(f"a scenario has left behind, still at work: {', '.join(left)}", markup=False, soft_wrap=True)
    sys.stdout.flush()
    # `os._exit` releases nothing, so what only garbage holds is released first.
    gc.collect()
    os._exit(status)


def _look(cluster: LiveCluster) -> None:
    """Keep a failed cluster up until the user has seen enough."""
    click.echo("the scenario failed; its cluster stays up until Ctrl-C:")
    for node in cluster.nodes:
        plan = cluster.node_plan(node)
        click.echo(f"  {node} {cluster.state(node)} {plan.client} {plan.folder}")
    click.pause("press a key, or Ctrl-C, to go on")
