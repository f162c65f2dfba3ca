"""Arguments that several commands take."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import durationpy

from bench.case import PROFILES
from bench.commands.helping import Name, Names
from bench.live import registry
from bench.operations import check_key
from bench.schedule import ROLES
from bench.seeds import Seeds, SeedsError
from bench.store import usable
from faults.links import CLIENT, Mode

F = TypeVar("F", bound=Callable[..., Any])

RUNS = "BENCH_RUNS"
DEFAULT_NAME = "default"


def _complete_clusters(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in registry.running() if name.startswith(incomplete)]


def complete_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The nodes of the running cluster and the roles that stand for one; none if there is no such cluster."""
    from bench.live.remote import RemoteError, ask

    try:
        nodes = [row["node"] for row in ask(ctx.params.get("name") or DEFAULT_NAME, "status")["nodes"]]
    except (RemoteError, registry.RegistryError):
        return []
    others = [CLIENT] if param.name in ("a", "b") else []
    return [name for name in (*nodes, *ROLES, *others) if name.startswith(incomplete)]


name_option = click.option(
    "--name",
    default=DEFAULT_NAME,
    show_default=True,
    shell_complete=_complete_clusters,
    help="Which cluster, when several run.",
)
mode_option = click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.BLACKHOLE.value,
    show_default=True,
    help="Swallow the traffic, refuse it, or hold it back until healed.",
)


def world_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--world",
        type=click.Choice(["live", "simulated"]),
        default=default,
        show_default=True,
        help="Live is real processes behind the real Toxiproxy. Simulated is the same node in virtual time, which is "
        "quick, and which a seed repeats to the byte.",
    )


outside_option = click.option(
    "--outside",
    is_flag=True,
    help="Judge by what clients were told and saw alone, as for a system in the wild: nothing reads the nodes' core or "
    "their traces.",
)


def name_as_typed(name: str) -> str:
    """What makes a command mean the cluster of this name: an option after a space, or nothing."""
    return "" if name == DEFAULT_NAME else f" --name {name}"


def profile_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--profile",
        type=click.Choice(list(PROFILES)),
        default=default,
        show_default=True,
        help="How patient the nodes are, by their heartbeat, election and lease timeouts: "
        f"{', '.join(f'{name} {PROFILES[name]}' for name in PROFILES)}.",
    )


def _flaw_names() -> tuple[str, ...]:
    # Imports the core, for which most commands have no use.
    from bench.simulated.flaws import flaw_names

    return flaw_names()


class Flaw(Name):
    """What breaks a rule of the nodes."""

    def __init__(self) -> None:
        super().__init__("name", lambda _: _flaw_names())

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in _flaw_names():
            near = difflib.get_close_matches(value, _flaw_names(), n=3)
            way_out = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(_flaw_names())}"
            self.fail(f"there is no flaw {value!r}; {way_out}", param, ctx)
        return str(value)


flaw_option = click.option(
    "--flaw",
    type=Flaw(),
    help="Break one rule of Raft in the nodes on purpose, to see whether the checks notice. The names are below.",
)
FLAWS: dict[str, Names] = {"Flaws": _flaw_names}
"""For the help."""


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


class Key(click.ParamType[str]):
    """A key of the nodes' store."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_key(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Text(click.ParamType[str]):
    """Any text; what the shell passes on may be none."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(value).encode().decode()
        except UnicodeEncodeError:
            self.fail(f"{value!r} is no text in UTF-8", param, ctx)


class SeedList(click.ParamType[Seeds]):
    """Numbers and ranges, such as 0,5,7-9."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Seeds:
        if isinstance(value, Seeds):
            return value
        try:
            return Seeds.of(str(value))
        except SeedsError as error:
            self.fail(str(error), param, ctx)


class Seed(click.ParamType[int]):
    """One whole number."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        seeds = SeedList().convert(value, param, ctx)
        if len(seeds) > 1:
            self.fail(f"{value!r} is more than one seed; write --seeds {value}", param, ctx)
        return next(iter(seeds))


class SeedListOrCount(click.ParamType[Seeds | int]):
    """A lone number says how many; everything else says which."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Seeds | int:
        seeds = SeedList().convert(value, param, ctx)
        if not str(value).strip().isdigit():
            return seeds
        if not int(value):
            self.fail("0 is no number of seeds; write 1000, or which as 0-999 or 0,5,7-9", param, ctx)
        return int(value)


def runs_folder() -> Path:
    """Where runs are kept: BENCH_RUNS, or ./runs. Raises UnusableFolderError."""
    return usable(kept_runs(), RUNS)


def kept_runs() -> Path:
    """The same folder, to be read from, whether it is there or not."""
    return Path(os.environ.get(RUNS) or "runs")


def state_folder() -> Path:
    """Where running clusters are registered: BENCH_STATE_DIR, or the user's own folder. Raises UnusableFolderError."""
    return usable(registry.state_folder(), registry.STATE)
