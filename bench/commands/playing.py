"""play: a case from its file, in either world."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import click

from bench import cases, judging, telling
from bench.commands.getting import get_toxiproxy
from bench.commands.options import outside_option, runs_folder, world_option
from bench.commands.reporting import as_json, stdout_for_json
from bench.commands.showing import console, tell
from bench.runner import Run, run_case
from bench.simulated.invariants import Invariants
from bench.simulated.observer import Observer
from bench.store import CASE, MANIFEST
from bench.verdict import Verdict
from bench.worlds import LiveWorld, SimulatedWorld
from faults import lifeline


@click.command("play", epilog="Example: python -m bench play case.json --world live --leave-out")
@click.argument("file", type=click.Path(path_type=Path))
@world_option("simulated")
@click.option("--leave-out", is_flag=True, help="Play it without the faults that this world or system cannot do.")
@outside_option
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
def play_command(file: Path, world: str, leave_out: bool, outside: bool, wants_json: bool) -> None:
    """Play the case in FILE, and judge what comes of it.

    A case is everything that a run depends on, as `explore` stores it or as edited by hand. In virtual time it is the
    same run each time, with the same digest. On real processes the same faults come at the same times, as far as they
    can repeat that. A case with faults that cannot be played there is SKIPPED with the reasons.

    Exit status: 0 VALID, or SKIPPED; 1 INVALID; 2 UNKNOWN, or it was not possible as asked.
    """
    case = cases.load(file)
    runs = runs_folder().absolute()
    with stdout_for_json(wants_json) as stdout, console(stderr=wants_json).status("starting") as progress:
        play = partial(run_case, case, runs=runs, name=_name_of(file), file=file.absolute(), leave_out=leave_out)
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
        told = {"world": world, "file": str(file), "seed": case.seed, "flaw": case.flaw, **as_json(done)}
        click.echo(json.dumps(told, indent=2), file=stdout)
    else:
        _tell(done)
    sys.exit(done.verdict.exit_status)


def _name_of(file: Path) -> str:
    """What its runs are called: as the run that it was stored by, or as the file."""
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
