"""doctor: what is there, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

import click
from rich.table import Table

from bench.commands.options import runs_folder
from bench.commands.showing import console
from bench.live import registry
from faults import lifeline
from faults.acquire import describe_sources

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
    """Say what is there, what is missing, and how to get it. Exit status 2 when a cluster could not be started."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "", "detail"):
        table.add_column(heading)
    rows = [*_python(), *_packages(), *_folders()]
    sources = [(f"toxiproxy-server: {name}", found, detail) for name, found, detail in describe_sources()]
    for what, well, detail in [*rows, *sources]:
        missing = "[dim]no[/]" if what.startswith("toxiproxy") else "[red]missing[/]"
        table.add_row(what, "[green]ok[/]" if well else missing, detail)
    table.add_row("lifeline", "[green]ok[/]", lifeline.wanted())
    out = console()
    out.print(table, soft_wrap=True)
    if not any(found for _, found, _ in sources):
        out.print("toxiproxy-server will be got at the first `up` or `run`.")
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


def _folders() -> list[tuple[str, bool, str]]:
    rows = []
    for what, folder in (("runs", runs_folder().absolute()), ("state", registry.state_folder())):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        rows.append((f"{what} folder", os.access(existing, os.W_OK), str(folder)))
    return rows
