"""What has changed from one status of a cluster to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench import words
from faults.links import UP


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """A clause for each node and for each link, both ways as one, that is not as it was. Before the first status no
    node was known, and every link was up."""
    former = {row["node"]: node_in_words(row) for row in before.get("nodes", ())}
    for row in after["nodes"]:
        if node_in_words(row) != former.get(row["node"]):
            yield f"{row['node']} {node_in_words(row)}"
    was, links = before.get("links", {}), after["links"]
    changed: dict[str, list[str]] = {}
    for name in sorted({*was, *links}):
        if links.get(name) != was.get(name):
            changed.setdefault(links.get(name, str(UP)), []).append(name)
    for state, names in changed.items():
        yield from (f"{link} {state}" for link in words.links(names).split(", "))


def node_in_words(row: Mapping[str, Any]) -> str:
    """As ``Leader in term 2``, or why it has no role."""
    if row["role"]:
        return f"{row['role']} in term {row['term']}"
    return "does not answer" if row["state"] == "running" else str(row["state"])
