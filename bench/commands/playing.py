"""play: a case from its file, in either world."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import click
import msgspec

from bench import cases, judging, telling
from bench.case import Case
from bench.commands.getting import get_toxiproxy
from bench.commands.helping import Listing, examples
from bench.commands.options import (
    FLAWS,
    Amount,
    NodeCount,
    Seed,
    flaw_option,
    outside_option,
    runs_folder,
    world_option,
)
from bench.commands.reporting import as_json, stdout_for_json
from bench.commands.showing import console, tell
from bench.runner import Run, run_case
from bench.search.explore import case_of
from bench.simulated.invariants import Invariants
from bench.simulated.observer import Observer
from bench.store import CASE, MANIFEST
from bench.verdict import Verdict
from bench.workload import WORKLOADS
from bench.worlds import LiveWorld, SimulatedWorld
from faults import lifeline

NODES = 5
"""Of the case of a seed, as `explore` has it."""


@click.command(
    "play",
    cls=Listing,
    lists=FLAWS,
    epilog=examples(
        "play case.json --world live --leave-out",
        "play --seed 7 --workload mixed --world live --leave-out",
    ),
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@world_option("simulated")
@click.option("--seed", type=Seed(), help="In place of FILE: the case that `explore` makes of this seed.")
@click.option("--nodes", type=NodeCount(2, 9), help="With --seed: how many nodes; 5 if not given.")
@click.option("--length", type=Amount(1), metavar="SECONDS", help="With --seed: how long its schedule is.")
@click.option("--workload", type=click.Choice(list(WORKLOADS)), help="With --seed: what clients do.")
@flaw_option
@click.option("--leave-out", is_flag=True, help="Play it without the faults that this world or system cannot do.")
@outside_option
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
def play_command(
    file: Path | None,
    world: str,
    seed: int | None,
    nodes: int | None,
    length: float | None,
    workload: str | None,
    flaw: str | None,
    leave_out: bool,
    outside: bool,
    wants_json: bool,
) -> None:
    """Play the case in FILE, or that of a seed, and judge it.

    A case is everything that a run depends on, as `explore` stores it or as edited by hand. In virtual time it is the
    same run each time, with the same digest. On real processes the same faults come at the same times, as far as they
    can repeat that. A case with faults that cannot be played there is SKIPPED with the reasons.

    Exit status: 0 VALID, or SKIPPED; 1 INVALID; 2 UNKNOWN, or it was not possible as asked.
    """
    case = _asked(file, seed, nodes, length, workload, flaw)
    runs = runs_folder().absolute()
    with stdout_for_json(wants_json) as stdout, console(stderr=wants_json).status("starting") as progress:
        play = partial(
            run_case, case, runs=runs, name=_name_of(file, case), file=file and file.absolute(), leave_out=leave_out
        )
        if outside:
            play = partial(play, checks=judging.FROM_OUTSIDE)
        schedule = case.schedule
        what = f"playing {len(schedule.faults)} faults in {schedule.length_s:g} s on {len(schedule.nodes)} nodes"
        if world == "simulated":
            progress.update(what)
            done = play(world=SimulatedWorld(watched_by=Observer if outside else Invariants))
        else:
            lifeline.wanted()
            server = get_toxiproxy(progress)
            progress.update(what)
            done = play(world=LiveWorld(server))
    if wants_json:
        told = {"world": world, "file": file and str(file), "seed": case.seed, "flaw": case.flaw, **as_json(done)}
        click.echo(json.dumps(told, indent=2), file=stdout)
    else:
        _tell(done)
    sys.exit(done.verdict.exit_status)


def _asked(
    file: Path | None, seed: int | None, nodes: int | None, length: float | None, workload: str | None, flaw: str | None
) -> Case:
    """Raises CaseError, and UsageError for what contradicts itself."""
    if seed is None:
        if file is None:
            raise click.UsageError("name the FILE of a case, or a --seed to make one of")
        if any(option is not None for option in (nodes, length, workload, flaw)):
            raise click.UsageError("a case in a FILE says all that itself; edit it, or name a --seed instead of a FILE")
        return cases.load(file)
    if file is not None:
        raise click.UsageError("FILE and --seed are two cases; name one")
    case = case_of(seed, nodes or NODES, flaw, length)
    return case if workload is None else msgspec.structs.replace(case, workload=workload)


def _name_of(file: Path | None, case: Case) -> str:
    """What its runs are called: as the run that it was stored by, or as the file, or by its seed."""
    if file is None:
        return f"seed-{case.seed}"
    folder = file.absolute().parent
    return folder.parent.name if file.name == CASE and (folder / MANIFEST).exists() else file.stem


def _tell(done: Run) -> None:
    out = console()
    if done.verdict not in (Verdict.VALID, Verdict.SKIPPED):
        tell(out, done.explain())
        return
    tell(out, f"{done.verdict} in {done.seconds:.1f} s")
    tell(out, "\n".join(f"  {line}" for line in telling.findings(done.findings)))
    if done.digest is not None:
        tell(out, f"  digest {done.digest}")
    tell(out, f"  evidence in\n  {done.folder}")
