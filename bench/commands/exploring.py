"""explore: thousands of random schedules against the core, in virtual time."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import judging
from bench.commands.helping import Listing, examples
from bench.commands.options import (
    FLAWS,
    Amount,
    Count,
    NodeCount,
    Seed,
    SeedListOrCount,
    flaw_option,
    outside_option,
    runs_folder,
)
from bench.commands.showing import console, tell
from bench.manifest import RunKind
from bench.runner import Run, run_case
from bench.search.explore import Violation, Walk, explore, plus
from bench.seeds import Seeds
from bench.simulated.observer import Observer
from bench.worlds import SimulatedWorld


@click.command(
    "explore",
    cls=Listing,
    lists=FLAWS,
    epilog=examples("explore --nodes 5 --seeds 1000", "explore --flaw forget_vote --outside"),
)
@click.option(
    "--world",
    type=click.Choice(["simulated"]),
    default="simulated",
    show_default=True,
    help="Thousands of schedules are explored in virtual time only.",
)
@click.option("--nodes", type=NodeCount(2, 9), default=5, show_default=True, help="How many nodes each cluster has.")
@click.option(
    "--seeds",
    type=SeedListOrCount(),
    default=1000,
    show_default=True,
    help="A lone number says how many seeds, from --first on; 0-999 or 0,5,7-9 says which.",
)
@click.option("--first", type=Seed(), help="The first of so many seeds; 0 if not given.")
@flaw_option
@outside_option
@click.option("--length", type=Amount(1), metavar="SECONDS", help="How long each schedule is; 9 or 24 by default.")
@click.option("--jobs", type=Count(1, 256), help="How many processes; by default one for each core.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, with the case that breaks a promise.")
def explore_command(
    world: str,
    nodes: int,
    seeds: Seeds | int,
    first: int | None,
    flaw: str | None,
    outside: bool,
    length: float | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Throw random faults at clusters in virtual time.

    It stops at the first broken promise. Each seed, a number, is a schedule of faults: crashes, pauses, cuts, lost and
    late messages, slow disks, drifting clocks, changes of membership, snapshots and transfers, under client load.
    Raft's promises are checked after every event, and what clients were told at the end of each schedule. The case that
    breaks a promise is stored, and the last lines say how to play it again.

    Exit status: 0 no promise was broken, 1 one was, 2 not possible as asked.
    """
    asked = _asked(seeds, first)
    runs = runs_folder().absolute()
    began_s = time.monotonic()
    walks = explore(asked.ranges, nodes, flaw, jobs or os.cpu_count() or 1, length, outside=outside)
    total = _add_up(walks, len(asked), quiet=as_json)
    seconds = time.monotonic() - began_s
    stored = _stored(total.violation, runs, outside) if total.violation is not None else None
    if as_json:
        click.echo(json.dumps(_as_json(total, seconds, stored)))
    else:
        _tell(total, seconds, nodes, stored)
    sys.exit(1 if total.violation else 0)


def _asked(seeds: Seeds | int, first: int | None) -> Seeds:
    if isinstance(seeds, int):
        return Seeds((range(first or 0, (first or 0) + seeds),))
    if first is not None:
        raise click.UsageError(f"--seeds {seeds} says already which is the first; leave out --first")
    return seeds


def _stored(violation: Violation, runs: Path, outside: bool) -> Run:
    """Store the case as a run like any other, by playing it again with everything written down."""
    play = partial(run_case, violation.case, runs=runs, name=violation.promise, kind=RunKind.EXPLORE)
    if outside:
        return play(world=SimulatedWorld(watched_by=Observer), checks=judging.FROM_OUTSIDE)
    return play(world=SimulatedWorld())


def _add_up(walks: Iterable[Walk], seeds: int, *, quiet: bool) -> Walk:
    columns = (TextColumn("exploring"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    total = Walk()
    began_s = time.monotonic()
    out = console()
    # Outside a terminal it would leave an empty line.
    disable = quiet or not out.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=out, disable=disable, transient=True) as progress:
        task = progress.add_task("exploring", total=seeds, pace="")
        for walk in walks:
            total = plus(total, walk)
            pace = f"{total.seeds / (time.monotonic() - began_s):.0f} schedules/s"
            progress.update(task, advance=walk.seeds, pace=pace)
    return total


def _tell(total: Walk, seconds: float, nodes: int, stored: Run | None) -> None:
    out = console()
    verdict = "[bold red]INVALID[/]" if total.violation else "[green]VALID[/]"
    at = f" at seed {total.violation.case.seed}" if total.violation else ""
    out.print(
        f"{verdict}{at}  {total.seeds} schedules of {nodes} nodes in {seconds:.1f} s: "
        f"{total.seeds / seconds:.1f} a second",
        soft_wrap=True,
    )
    pace = total.virtual_s / total.cpu_s
    out.print(f"       {total.virtual_s:.0f} s of virtual time, {pace:.0f} times real time on each core")
    if stored is not None:
        tell(out, stored.explain())


def _as_json(total: Walk, seconds: float, stored: Run | None) -> dict[str, object]:
    violation = total.violation
    return {
        "schedules": total.seeds,
        "seconds": round(seconds, 3),
        "virtual_s": round(total.virtual_s, 3),
        "times_real_time": round(total.virtual_s / total.cpu_s, 1),
        "violation": violation
        and {
            "seed": violation.case.seed,
            "promise": violation.promise,
            "words": violation.words,
            "at_s": violation.at_s,
            "digest": violation.digest,
            "case": json.loads(violation.case.to_json()),
            "file": str(stored.case_file) if stored is not None else None,
        },
    }
