"""What `watch` says in a pipe."""

from __future__ import annotations

from typing import Any

import pytest

from bench.commands.changes import changes


def row(node: str, role: str | None, term: int | None = 2, state: str = "running") -> dict[str, Any]:
    return {"node": node, "role": role, "term": term, "state": state, "commit_index": 1}


def status(*rows: dict[str, Any], **links: str) -> dict[str, Any]:
    return {"nodes": list(rows), "links": {"->".join(name.split("_")): state for name, state in links.items()}}


LED = status(row("n1", "Leader"), row("n2", "Follower"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, LED, ["n1 Leader in term 2", "n2 Follower in term 2"]),
        (LED, LED, []),
        (LED, status(row("n1", "Leader") | {"commit_index": 9}, row("n2", "Follower")), []),
        (LED, status(row("n1", "Leader", 3), row("n2", "Follower")), ["n1 Leader in term 3"]),
        (LED, status(row("n1", None, None, "paused"), row("n2", None, None)), ["n1 paused", "n2 does not answer"]),
        (
            LED,
            status(*LED["nodes"], n1_n2="20ms", n2_n1="20ms", client_n1="cut (hold), 20ms"),
            ["client->n1 cut (hold), 20ms", "n1<->n2 20ms"],
        ),
        (
            status(*LED["nodes"], n1_n2="20ms", n2_n1="20ms", n1_n3="5ms"),
            status(*LED["nodes"], n1_n2="cut (refuse)", n1_n3="5ms"),
            ["n1->n2 cut (refuse)", "n2->n1 up"],
        ),
    ],
)
def test_each_change_of_a_node_and_of_a_link_is_told_once_and_nothing_else(
    before: dict[str, Any], after: dict[str, Any], said: list[str]
) -> None:
    assert list(changes(before, after)) == said
