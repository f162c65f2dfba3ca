"""doctor: what is there, what is missing, and how to get it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from importlib import metadata

import click
from rich.markup import escape
from rich.table import Table

from bench.commands.options import runs_folder, state_folder
from bench.commands.showing import console
from bench.store import UnusableFolderError
from faults import lifeline
from faults.acquire import VARIABLE, ToxiproxyUnavailableError, describe_sources, server_named

PACKAGES = (
    "click",
    "durationpy",
    "filelock",
    "flask",
    "msgspec",
    "multiprocessing-logging",
    "platformdirs",
    "prometheus-client",
    "psutil",
    "pytest",
    "pytest-xdist",
    "requests",
    "rich",
    "toxiproxy-python",
    "waitress",
)


@click.command("doctor", epilog="Example: python -m bench doctor")
def doctor_command() -> None:
    """Say what is there, what is missing, and how to get it. Exit status 2 if no cluster could be started."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "", "detail"):
        table.add_column(heading, overflow="fold")
    rows = [*_python(), *_packages(), *_surroundings()]
    sources = [(f"toxiproxy-server: {name}", found, detail) for name, found, detail in describe_sources()]
    for what, well, detail in [*rows, *sources]:
        colour = "green" if well else "dim" if what.startswith("toxiproxy") else "red"
        table.add_row(what, f"[{colour}]{'ok' if well else 'no'}[/]", escape(detail))
    out = console()
    out.print(table)
    if not any(found for _, found, _ in sources):
        out.print("toxiproxy-server will be fetched at the first `up` or `run`.")
    sys.exit(0 if all(well for _, well, _ in rows) else 2)


def _python() -> list[tuple[str, bool, str]]:
    return [("Python", sys.version_info >= (3, 11), f"{platform.python_version()} (3.11 to 3.13 are tested)")]


def _packages() -> list[tuple[str, bool, str]]:
    rows = []
    for package in PACKAGES:
        try:
            rows.append((package, True, metadata.version(package)))
        except metadata.PackageNotFoundError:
            rows.append((package, False, "get it with: pip install -r requirements.txt"))
    return rows


def _surroundings() -> list[tuple[str, bool, str]]:
    """What `up` and `run` need first, tried as they do."""
    tried: dict[str, Callable[[], object]] = {
        "runs folder": lambda: runs_folder().absolute(),
        "state folder": state_folder,
        "lifeline": lifeline.wanted,
        VARIABLE: server_named,
    }
    rows = []
    for what, attempt in tried.items():
        try:
            rows.append((what, True, str(attempt())))
        except (UnusableFolderError, lifeline.NoSuchLifelineError, ToxiproxyUnavailableError) as error:
            rows.append((what, False, str(error)))
    return rows
