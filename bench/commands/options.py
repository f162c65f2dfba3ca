"""Arguments that several commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import durationpy

from bench.case import PROFILES
from bench.live import registry
from bench.store import usable
from faults.links import Mode

F = TypeVar("F", bound=Callable[..., Any])

RUNS = "BENCH_RUNS"
SEED_DIGITS = 18
"""So that a seed fits into 64 bits, wherever it is kept."""

name_option = click.option("--name", default="default", show_default=True, help="Which cluster, when several run.")
mode_option = click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.BLACKHOLE.value,
    show_default=True,
    help="Swallow the traffic, refuse it, or hold it back until healed.",
)


def profile_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--profile",
        type=click.Choice(list(PROFILES)),
        default=default,
        show_default=True,
        help=f"Heartbeat, election and lease timeouts: {', '.join(f'{name} {PROFILES[name]}' for name in PROFILES)}.",
    )


class Count(click.IntRange):
    """A whole number, called so where one is asked for and where something else was given."""

    name = "count"


class NodeCount(Count):
    """How many nodes a cluster has; refused in words of its own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is no size of cluster; write a number from {self.min} to {self.max}", param, ctx)


class Amount(click.FloatRange):
    """A number, called so where one is asked for and where something else was given."""

    name = "number"


class Milliseconds(click.ParamType[int]):
    """A Go duration, as whole milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            milliseconds = round(durationpy.from_str(str(value)).total_seconds() * 1000)
        except (durationpy.DurationError, ValueError, OverflowError):
            self.fail(f"{value!r} is no duration; write it as 200ms or 1.5s", param, ctx)
        if milliseconds < 0:
            self.fail(f"{value!r} is negative", param, ctx)
        return milliseconds


class Seed(click.ParamType[int]):
    """One whole number."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        seeds = Seeds().convert(value, param, ctx)
        if len(seeds) > 1:
            self.fail(f"{value!r} is more than one seed; write --seeds {value}", param, ctx)
        return seeds.start


class Seeds(click.ParamType[range]):
    """One whole number, or a range such as 0-99, which includes both ends."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, _, last = str(value).partition("-")
        if not all(part.isascii() and part.isdigit() for part in (first, last or first)):
            self.fail(f"{value!r} is no seed; write 7, or 0-99 for several", param, ctx)
        if max(len(first), len(last)) > SEED_DIGITS:
            self.fail(f"{value!r} has a seed of more than {SEED_DIGITS} digits", param, ctx)
        if int(last or first) < int(first):
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return range(int(first), int(last or first) + 1)


def runs_folder() -> Path:
    """Where runs are kept: BENCH_RUNS, or ./runs. Raises UnusableFolderError."""
    return usable(kept_runs(), RUNS)


def kept_runs() -> Path:
    """The same folder, to be read from, whether it is there or not."""
    return Path(os.environ.get(RUNS) or "runs")


def state_folder() -> Path:
    """Where running clusters are registered: BENCH_STATE_DIR, or the user's own folder. Raises UnusableFolderError."""
    return usable(registry.state_folder(), registry.STATE)
