"""clusters: what runs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import click
from rich.table import Table

from bench import store
from bench.commands.showing import console
from bench.live import registry
from bench.live.registry import Registered
from bench.manifest import Manifest, RunKind
from bench.store import StoreError


class Found(NamedTuple):
    """A cluster that runs, and what its run says of it: nothing, if its folder is gone."""

    name: str
    entry: Registered
    manifest: Manifest | None


@click.command("clusters", epilog="Example: python -m bench clusters --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
def clusters_command(as_json: bool) -> None:
    """List the clusters that run.

    These are the clusters of `up`, and those of failed scenarios that `run --keep` keeps. Each command takes one of
    these names with --name.
    """
    found = [Found(name, entry, _manifest(entry)) for name, entry in registry.running_ones()]
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found], indent=2))
    elif not found:
        click.echo("no cluster is running; start one with: python -m bench up 3")
    else:
        out = console()
        out.print(_table(found))
        for each in found:
            out.print(_where(each), markup=False, soft_wrap=True)


def _manifest(entry: Registered) -> Manifest | None:
    try:
        return store.read(Path(entry.folder)).manifest
    except StoreError:
        return None


def _table(found: list[Found]) -> Table:
    """No wider than a terminal of 80 columns, whatever the names are."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "pid", "nodes", "since", "profile"):
        table.add_column(heading, justify="right" if heading == "pid" else "left", no_wrap=True)
    for name, entry, manifest in found:
        table.add_row(name, str(entry.pid), *(("?", "?", "?") if manifest is None else _cells(manifest)))
    return table


def _cells(manifest: Manifest) -> tuple[str, str, str]:
    members, spare = len(manifest.plan.members), len(manifest.plan.nodes) - len(manifest.plan.members)
    since = f"{manifest.began.astimezone():%d %b %H:%M}"
    return f"{members}{f'+{spare}' if spare else ''}", since, manifest.profile or "-"


def _where(found: Found) -> str:
    name, entry, manifest = found
    kept = f", kept of {manifest.name}," if manifest is not None and manifest.kind is not RunKind.UP else ""
    return f"{name}{kept} is in {entry.folder}"


def _as_json(found: Found) -> dict[str, object]:
    name, entry, manifest = found
    told: dict[str, object] = {"name": name, "pid": entry.pid, "folder": entry.folder}
    if manifest is None:
        return told
    nodes = {"nodes": manifest.plan.nodes, "members": manifest.plan.members}
    run = {"kind": manifest.kind, "run": manifest.name, "profile": manifest.profile}
    return {**told, **nodes, **run, "since": manifest.began.isoformat()}
