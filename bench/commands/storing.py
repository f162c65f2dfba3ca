"""runs, show, check: what is kept of earlier runs."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click
import msgspec
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from bench import store, telling
from bench.calls import calls_of
from bench.commands.histories import form_option, is_history, judge_file, model_option, seconds_option, tell_as
from bench.commands.options import Count, kept_runs
from bench.commands.showing import VERDICT_COLOURS, console, tell
from bench.judging import Judgement, judge_again
from bench.manifest import Manifest, RunKind, code_digest
from bench.models import Model
from bench.store import RunState, StoredRun, StoreError
from bench.verdict import Check, Finding

SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}

run_argument = click.argument("run", metavar="RUN")


@click.command("runs", epilog="Example: python -m bench runs --prune 20")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--prune", "keep", type=Count(0), metavar="KEEP", help="Remove all but the KEEP newest runs.")
def runs_command(as_json: bool, keep: int | None) -> None:
    """List the runs that are kept, newest first.

    --prune removes no run that is still going on, and no folder that the bench did not make.
    """
    folder = kept_runs()
    if keep is not None:
        _prune(folder, keep)
        return
    out = console()
    with out.status("reading"):
        found = store.runs_in(folder)
        told = list(map(_as_json, found.runs)) if as_json else _table(found.runs)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
    elif found.runs:
        out.print(told)
    else:
        click.echo(f"no runs in {folder.absolute()}")
    for error in found.unreadable:
        click.echo(f"bench: not listed: {error}", err=True)


@click.command("show", epilog="Example: python -m bench show last")
@run_argument
def show_command(run: str) -> None:
    """Tell what RUN was and what came of it.

    That is its findings, what happened when, and how its logs end.

    RUN is an id as `runs` prints it, the run's folder, or `last`.
    """
    out, stored = console(), store.find(kept_runs(), run)
    with out.status("reading"):
        words = telling.explain(stored, whole=True)
    for line in _header(stored.manifest):
        tell(out, line)
    tell(out, words)


@click.command("check", epilog="Example: python -m bench check last")
@run_argument
@click.option(
    "--scenarios",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file of your own scenario, for checks of your own. A file that only the run names is never executed.",
)
@model_option
@seconds_option
@form_option
def check_command(run: str, file: Path | None, model: Model | None, seconds: float, form: str | None) -> None:
    """Judge the evidence of RUN again.

    It says of each finding whether the run said the same.

    RUN is an id as `runs` prints it, the run's folder, or `last`. It may also be a file with a history, of which it is
    judged whether it is linearizable: history.jsonl of a run, Jepsen's EDN or log, or Porcupine's key-value text.

    Exit status: 0 VALID, or SKIPPED; 1 INVALID; 2 UNKNOWN, or it cannot be judged, because it is still going on or its
    folder was damaged.
    """
    if is_history(run):
        sys.exit(judge_file(Path(run), model, seconds, form))
    out, stored = console(), store.find(kept_runs(), run)
    if form is not None:
        tell_as(form, calls_of(stored.evidence().history))
        return
    if model is not None:
        raise click.UsageError(f"--model is for a file with a history, and {stored.id} is a run")
    if stored.state is RunState.GOING_ON:
        raise StoreError(f"{stored.id} is {telling.outcome(stored)}; check it when it has ended")
    own = _checks_in(file, stored.manifest.name) if file is not None else ()
    with out.status(f"judging {escape(stored.manifest.name)}"):
        judgement = judge_again(stored, own)
    for line in _comparison(judgement):
        tell(out, line)
    if stored.manifest.machine.code != code_digest():
        tell(out, "the run was made by other sources than those that judge it now")
    agrees = "as the run said" if judgement.agrees else f"the run: {telling.outcome(stored)}"
    out.print(f"[{VERDICT_COLOURS[judgement.verdict]}]{judgement.verdict}[/], {escape(agrees)}", soft_wrap=True)
    sys.exit(judgement.verdict.exit_status)


def _prune(folder: Path, keep: int) -> None:
    out, count, freed = console(), 0, 0
    with out.status("removing"):
        for run, size_bytes in store.prune(folder, keep):
            click.echo(f"removed {run.id}  {run.manifest.name}  {decimal(size_bytes)}")
            count, freed = count + 1, freed + size_bytes
    runs = "1 run" if count == 1 else f"{count} runs"
    click.echo(f"{runs} removed, {decimal(freed)} freed" if count else "nothing to remove")


def _table(runs: tuple[StoredRun, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "what", "world", "verdict", "age", "size"):
        # Where there is little room, the name of what was run goes on below, and never the id.
        shrinks, right = heading == "what", heading in ("age", "size")
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(heading, justify=justify, no_wrap=not shrinks, overflow="fold")
    for run in runs:
        verdict = run.manifest.verdict
        colour = VERDICT_COLOURS[verdict] if verdict is not None else "dim"
        outcome = f"[{colour}]{verdict or _state(run)}[/]"
        cells = escape(run.id), escape(run.manifest.name), escape(run.manifest.world), outcome
        table.add_row(*cells, _age(run.manifest.began), decimal(run.size_bytes))
    return table


def _state(run: StoredRun) -> str:
    """In place of a verdict."""
    return "-" if run.state is RunState.ENDED else run.state


def _as_json(run: StoredRun) -> dict[str, object]:
    manifest = run.manifest
    fields = ("kind", "name", "file", "world", "profile", "verdict", "began", "ended", "seconds", "digest")
    told = {field: getattr(manifest, field) for field in fields}
    return {
        "id": run.id,
        **told,
        "seed": manifest.plan.seed,
        "system": manifest.plan.system,
        "flaw": manifest.plan.flaw,
        "state": run.state,
        "size_bytes": run.size_bytes,
        "folder": str(run.folder.absolute()),
    }


def _age(began: datetime) -> str:
    age = max(datetime.now(UTC) - began, timedelta(0)).total_seconds()
    unit = next((unit for unit, seconds in SECONDS.items() if age >= 2 * seconds), "s")
    return f"{age // SECONDS[unit]:.0f} {unit}"


def _header(manifest: Manifest) -> list[str]:
    plan, machine = manifest.plan, manifest.machine
    spare = [node for node in plan.nodes if node not in plan.members]
    members = ", ".join(plan.members) + (f" (and {', '.join(spare)} to join)" if spare else "")
    what = "cluster" if manifest.kind is RunKind.UP else str(manifest.kind)
    of = f"{what} {manifest.name}{f' of {manifest.file}' if manifest.file else ''}"
    took = f", {manifest.seconds:.1f} s" if manifest.seconds is not None else ""
    seed = f"seed {plan.seed}" if manifest.world != "live" or plan.seed else ""
    details = [seed, f"profile {manifest.profile}" if manifest.profile else "", plan.system]
    details += [f"flaw {plan.flaw}" if plan.flaw else "", f"digest {manifest.digest}" if manifest.digest else ""]
    made_on = f"Python {machine.python}, {machine.cpus} CPUs, {machine.platform}"
    return [
        f"{of}, {manifest.world}: {members}",
        f"  {'; '.join(filter(None, details))}",
        f"  {manifest.began:%Y-%m-%d %H:%M:%S} UTC{took}; {made_on}",
        *(f"  not played: {words}" for words in manifest.left_out),
    ]


def _checks_in(file: Path, scenario: str) -> tuple[Check, ...]:
    """The checks of this scenario. Raises UserFileError, UserCodeError, UnknownScenarioError."""
    from bench.scenarios.files import load
    from bench.scenarios.registry import UnknownScenarioError, find

    members = find(scenario, load(file.absolute()), f"python -m bench list {file}")
    checks = next((member.checks for member in members if member.name == scenario), None)
    if checks is None:
        raise UnknownScenarioError(f"{scenario} is a family in {file} now: {', '.join(one.name for one in members)}")
    return checks


def _comparison(judgement: Judgement) -> list[str]:
    """Each finding, and what the run had found there."""
    findings, said = judgement.findings, judgement.said
    lines: list[str] = []
    for finding in findings.told:
        lines += _with(" (told while it was played)" if said is not None else "", telling.finding(finding))
    then = itertools.chain(said.judged if said is not None else (), itertools.repeat(None))
    for now, before in zip(findings.judged, then, strict=False):
        lines += _with(_difference(now, before), telling.finding(now))
    return lines


def _with(remark: str, told: Iterator[str]) -> Iterator[str]:
    """The remark stands behind the first line."""
    yield f"  {next(told)}{remark}"
    yield from (f"  {line}" for line in told)


def _difference(now: Finding, then: Finding | None) -> str:
    if then is None:
        return " (the run said nothing of it)"
    return " (as the run said)" if now == then else f"\n          the run said {then.verdict}: {then.reason}"
