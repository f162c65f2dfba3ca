"""Arguments that several commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import durationpy

from bench.live import registry
from bench.live.folders import usable
from faults.links import Mode

F = TypeVar("F", bound=Callable[..., Any])

RUNS = "BENCH_RUNS"
PROFILES = ("default", "low-latency", "high-latency", "tight")

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
        type=click.Choice(PROFILES),
        default=default,
        show_default=True,
        help="Heartbeat, election and lease timeouts: 1s/1s/500ms, 500ms/1s/250ms, 2s/2s/1s or 100ms/100ms/50ms.",
    )


class NodeCount(click.IntRange):
    """How many nodes a cluster has; refused in words of its own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is no size of cluster; write a number from {self.min} to {self.max}", param, ctx)


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


class Seeds(click.ParamType[range]):
    """One whole number, or two with a dash between, the last one too."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, _, last = str(value).partition("-")
        if not all(part.isascii() and part.isdigit() for part in (first, last or first)):
            self.fail(f"{value!r} is no seed; write 7, or 0-99 for several", param, ctx)
        if int(last or first) < int(first):
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return range(int(first), int(last or first) + 1)


def runs_folder() -> Path:
    """Where runs are kept: BENCH_RUNS, or ./runs. Raises UnusableFolderError."""
    return usable(Path(os.environ.get(RUNS) or "runs"), RUNS)


def state_folder() -> Path:
    """Where it is kept which clusters run: BENCH_STATE_DIR, or the user's own. Raises UnusableFolderError."""
    return usable(registry.state_folder(), registry.STATE)
