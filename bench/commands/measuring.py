"""measure: how fast it is, here and now."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.commands.getting import get_toxiproxy
from bench.commands.helping import Listing, Name
from bench.commands.options import Amount, Count, profile_option
from bench.commands.showing import console
from bench.measure.registry import Measurement, find, measurements
from bench.measure.result import Measured, Series
from bench.measure.setting import Setting

USUAL = ("start", "writes", "reads", "throughput", "failover", "heal_blackhole")
"""What is measured when nothing is named: about three minutes."""


@click.command(
    "measure",
    cls=Listing,
    lists={"Measurements": measurements, "The usual ones": lambda: USUAL},
    epilog="Example: python -m bench measure writes reads throughput",
)
@click.argument("names", nargs=-1, type=Name("name", lambda _: measurements()))
@click.option("--list", "listing", is_flag=True, help="List the measurements instead.")
@click.option("--count", type=Count(1), help="How many values to take, instead of the measurement's own.")
@click.option("--seconds", type=Amount(1), metavar="SECONDS", help="How long, where time decides and not a count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON. Progress goes to stderr either way.")
@profile_option("default")
def measure_command(
    names: tuple[str, ...], listing: bool, count: int | None, seconds: float | None, as_json: bool, profile: str
) -> None:
    """Measure how fast live clusters of three are.

    Without NAMES it is the usual measurements, which take about three minutes. `judging` tells how fast histories are
    judged, and needs neither a cluster nor Toxiproxy.

    What has an aim is said to have met or missed it. That does not change the exit status, since a busy machine misses
    too: it is 0 if everything could be measured, and 2 otherwise.
    """
    if listing:
        listed = {name: measurement.about for name, measurement in measurements().items()}
        click.echo(json.dumps(listed)) if as_json else console().print(_list_table())
        return
    chosen = [find(name) for name in names or USUAL]
    found: dict[str, Measured] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    aside = Console(stderr=True)
    # Outside a terminal it would leave an empty line.
    with Progress(*columns, console=aside, disable=not aside.is_terminal, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        @functools.cache
        def get_server() -> Path:
            """Shows its own progress meanwhile."""
            progress.stop()
            server = get_toxiproxy()
            progress.start()
            return server

        for measurement in chosen:
            progress.update(task, description=measurement.name)
            found[measurement.name] = _measure(measurement, get_server, profile, count, seconds, progress, task)
    if as_json:
        click.echo(json.dumps({name: {"profile": profile, **result.as_json()} for name, result in found.items()}))
    else:
        _print(found)


def _measure(
    measurement: Measurement,
    get_server: Callable[[], Path],
    profile: str,
    count: int | None,
    seconds: float | None,
    progress: Progress,
    task: TaskID,
) -> Measured:
    """Measure on clusters whose files are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{measurement.name}-") as folder:
        setting = Setting(
            folder=Path(folder),
            get_server=get_server,
            profile=profile,
            count=count or measurement.count,
            seconds=seconds or measurement.seconds,
            on_progress=lambda done, total: progress.update(task, completed=round(done), total=round(total)),
        )
        return measurement.run(setting)


def _list_table() -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("measurement", "what"):
        table.add_column(heading)
    for measurement in measurements().values():
        table.add_row(measurement.name, measurement.about)
    return table


def _print(found: dict[str, Measured]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("measurement", "of", "unit", "n", "p50", "p99", "max", "aim", ""):
        right = heading in ("n", "p50", "p99", "max")
        # Where there is little room, names and aims go on in a second line, and figures stay whole.
        table.add_column(heading, justify="right" if right else "left", no_wrap=right or not heading)
    for name, result in found.items():
        for series in result.series:
            summary = series.summary
            figures = (
                f"{value:.2f}" if value < 1000 else f"{value:.0f}" for value in (summary.p50, summary.p99, summary.max)
            )
            table.add_row(name, series.name, series.unit, str(summary.n), *figures, *_aim(series))
    console().print(table)
    for result in found.values():
        if result.table is not None:
            over_time = Table(*result.table.headings, box=None, pad_edge=False)
            for row in result.table.rows:
                over_time.add_row(*row)
            console().print(over_time)


def _aim(series: Series) -> tuple[str, str]:
    """In words, and whether it is met."""
    if series.aim is None:
        return "", ""
    return series.aim.words(series.unit), "[green]met[/]" if series.aim.is_met(series.summary) else "[red]missed[/]"
