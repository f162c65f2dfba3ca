"""list and run: the scenarios, the bench's own and a user's."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from bench.commands.getting import get_toxiproxy
from bench.commands.helping import Listing, Name, Names, examples
from bench.commands.keeping import keeping
from bench.commands.options import (
    FLAWS,
    Milliseconds,
    NodeCount,
    Seed,
    SeedList,
    flaw_option,
    profile_option,
    runs_folder,
    world_option,
)
from bench.commands.reporting import Report, reasons, reported, stdout_for_json
from bench.commands.showing import VERDICT_COLOURS, console, tell
from bench.runner import Run, run_scenario
from bench.scenarios import SCENARIOS, Scenario
from bench.scenarios.files import named
from bench.scenarios.registry import EVERY
from bench.seeds import Counted, Seeds
from bench.verdict import Verdict, worst
from bench.worlds import LiveWorld, SimulatedWorld
from faults import lifeline

MOST_NAMED = 20
"""How many of the runs that went wrong are named at the end with their folders."""
FAILED = {Verdict.INVALID: "failed", Verdict.UNKNOWN: "came out UNKNOWN"}
"""What is said of the seeds whose runs went wrong."""


def _completions(incomplete: str) -> Iterable[str]:
    """Families, and their members once a bracket is typed."""
    return SCENARIOS if "[" in incomplete else [EVERY, *_families()]


def _families() -> Iterable[str]:
    return dict.fromkeys(scenario.family for scenario in SCENARIOS.values())


FAMILIES: dict[str, Names] = {"Scenarios and families of them": _families}


@click.command(
    "list",
    cls=Listing,
    lists=FAMILIES,
    epilog=examples("list", "list 'split_*' my_scenarios.py"),
)
@click.argument("names", nargs=-1, type=Name("name", _completions))
@click.option("--all", "every", is_flag=True, help="List each member of a family too.")
def list_command(names: tuple[str, ...], every: bool) -> None:
    """List scenarios, and what each promises.

    Without NAMES these are all of the bench's own. NAMES are what `run` takes: scenarios, families, patterns, files.
    """
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
    cls=Listing,
    lists=FAMILIES | FLAWS,
    epilog=examples(
        "run kill_leader 'split_*' --world simulated --seeds 0-99",
        "run my_scenarios.py::mine",
        "run all --world simulated --junit results.xml",
    ),
)
@click.argument("scenarios", nargs=-1, required=True, type=Name("scenario", _completions))
@world_option("live")
@click.option("--seed", type=Seed(), help="All chance in a simulated world comes from this number, or from 0.")
@click.option("--seeds", type=SeedList(), help="Run with each of these seeds: 0-99, or 0,5,7-9, with both ends.")
@click.option("--nodes", type=NodeCount(1, 9), help="Another size of cluster than the scenario's own.")
@profile_option("low-latency")
@flaw_option
@click.option("--limit", type=Milliseconds(), help="How long a scenario may take: 90s; 5m unless it says otherwise.")
@click.option("--keep", is_flag=True, help="Keep the cluster of a story that goes wrong, as it was, for a look.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit's XML too, for CI servers.")
def run_command(
    scenarios: tuple[str, ...],
    world: str,
    seed: int | None,
    seeds: Seeds | None,
    nodes: int | None,
    profile: str,
    flaw: str | None,
    limit: int | None,
    keep: bool,
    as_json: bool,
    junit: Path | None,
) -> None:
    """Run SCENARIOS, each on a cluster of its own, and judge them.

    A scenario is a story of a cluster that must come out right. SCENARIOS are names, families, patterns such as
    'split_*', in which brackets stand for themselves, and `all`. FILE.py is all of a file of your own, FILE.py::NAME
    what has this name there.

    Exit status: 0 all VALID, or SKIPPED because their world cannot play them; 1 one was INVALID; 2 one was UNKNOWN, or
    it was not possible as asked.
    """
    _refuse_contradictions(world, seed, seeds, limit, keep, as_json)
    with stdout_for_json(as_json) as stdout:
        chosen = [_large_enough(scenario, nodes) for scenario in named(scenarios)]
        folder = runs_folder().absolute()
        out, tally = console(stderr=as_json), _Tally()
        report = Report(world, profile, flaw, folder, kept=as_json or junit is not None, explained=junit is not None)
        with reported(report, stdout if as_json else None, junit), out.status("starting") as progress:
            asked = {"nodes": nodes, "profile": profile, "flaw": flaw, "limit_s": limit and limit / 1000}
            play = partial(_in_world(world, progress, keep), runs=folder, **asked)
            try:
                for number, scenario in enumerate(chosen, 1):
                    title = f"{number} of {len(chosen)}: {scenario.name}"
                    each = _counted_aloud(seeds or [seed or 0], title, progress.update)
                    _play_each(scenario, each, play, report, tally, out)
            finally:
                for line in tally.summary(folder):
                    tell(out, line)
    _end(out, tally.verdict.exit_status)


def _counted_aloud(seeds: Iterable[int], title: str, say: Callable[[str], None]) -> Iterator[int]:
    for number, seed in enumerate(seeds, 1):
        say(escape(f"{title}, run {number}"))
        yield seed


def _play_each(
    scenario: Scenario, seeds: Iterable[int], play: Callable[..., Run], report: Report, tally: _Tally, out: Console
) -> None:
    """Play it with each of these seeds. The first run that goes wrong is told in full, and the others by their seeds.
    What its world cannot play is tried once."""
    own = _Tally()
    for seed in seeds:
        done = report.of(scenario, seed, partial(play, scenario, seed=seed))
        if own.add(seed, done) and len(own.wrong) == 1:
            tell(out, done.explain())
        tally.add(seed, done)
        if done.verdict is Verdict.SKIPPED:
            break
    colour = VERDICT_COLOURS[own.verdict]
    tell(out, own.words(scenario.name), beside=f"[{colour}]{own.verdict:8}[/] {own.seconds:5.1f} s  ")


def _refuse_contradictions(
    world: str, seed: int | None, seeds: Seeds | None, limit: int | None, keep: bool, as_json: bool
) -> None:
    seeded = seed is not None or seeds is not None
    contradictions = {
        "--seed is one and --seeds are several; write either": seed is not None and seeds is not None,
        "real processes have no seed; add --world simulated": world == "live" and seeded,
        "--keep is for real processes; a simulated run is repeated by its seed": world == "simulated" and keep,
        "--keep waits for somebody to look, and --json is for programs; write either": keep and as_json,
        "no scenario ends within --limit 0s; write it as 90s or 10m": limit == 0,
    }
    for words, holds in contradictions.items():
        if holds:
            raise click.UsageError(words)


def _large_enough(scenario: Scenario, nodes: int | None) -> Scenario:
    if nodes is not None and nodes < scenario.minimum:
        raise click.UsageError(f"{scenario.name} needs at least {scenario.minimum} nodes")
    return scenario


def _in_world(world: str, progress: Status, keep: bool) -> Callable[..., Run]:
    """`run_scenario` in this world."""
    if world == "simulated":
        return partial(run_scenario, world=SimulatedWorld())
    lifeline.wanted()
    live = LiveWorld(get_toxiproxy(progress), keeps=keep)
    return keeping(live, progress) if keep else partial(run_scenario, world=live)


@dataclass
class _Tally:
    """What came of the runs; a million take no more memory than a few."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    seconds: float = 0.0
    last: Run | None = None
    wrong: list[Run] = field(default_factory=list)
    """The first of those that are neither VALID nor SKIPPED."""
    seeds: dict[Verdict, Counted] = field(default_factory=lambda: {verdict: Counted() for verdict in FAILED})
    """Of those that are neither."""

    def add(self, seed: int, done: Run) -> bool:
        """Whether it went wrong."""
        self.verdicts[done.verdict] += 1
        self.seconds += done.seconds
        self.last = done
        if done.verdict not in FAILED:
            return False
        self.seeds[done.verdict].add(seed)
        if len(self.wrong) < MOST_NAMED:
            self.wrong.append(done)
        return True

    @property
    def count(self) -> int:
        return self.verdicts.total()

    @property
    def verdict(self) -> Verdict:
        return worst(self.verdicts)

    def words(self, name: str) -> str:
        """Of one scenario, however many seeds it was played with."""
        if self.last is not None and self.last.verdict is Verdict.SKIPPED:
            return f"{name}; {reasons(self.last)}"
        if self.count == 1:
            return name
        wrong = [
            f"{seeds.count} of {self.count} seeds {FAILED[verdict]}: {seeds}"
            for verdict, seeds in self.seeds.items()
            if seeds.count
        ]
        return f"{name}: {'; '.join(wrong)}" if wrong else f"{name} ({self.count} seeds)"

    def summary(self, folder: Path) -> Iterator[str]:
        """How many were VALID, and where to read on about those that were not; nothing if there were no runs."""
        if not self.count:
            return
        skipped = self.verdicts[Verdict.SKIPPED]
        also = f", {skipped} SKIPPED" if skipped else ""
        yield f"{self.verdicts[Verdict.VALID]} of {self.count} VALID{also}; evidence in"
        yield f"  {folder}"
        for title, alike in itertools.groupby(self.wrong, key=_in_a_line):
            yield title
            yield from (f"  {done.folder}" for done in alike)
        more = sum(seeds.count for seeds in self.seeds.values()) - len(self.wrong)
        if more:
            yield f"and {more} more"


def _in_a_line(done: Run) -> str:
    """What went wrong with it."""
    why = next(one for one in done.findings if one.verdict is done.verdict)
    return f"{done.verdict:8} {done.name}: {why.reason}"


def _end(out: Console, status: int) -> None:
    """End with this exit status, even if a story left a thread that would keep the program from ending."""
    left = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if not left:
        sys.exit(status)
    tell(out, f"a scenario has left behind, still at work: {', '.join(left)}")
    sys.stdout.flush()
    # `os._exit` releases nothing, so what only garbage holds is released first.
    gc.collect()
    os._exit(status)
