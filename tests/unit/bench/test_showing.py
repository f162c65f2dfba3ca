"""What is shown of a cluster on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.commands.showing import cluster_table, tell
from faults.links import peer_links


def shown(nodes: int, short: dict[str, list[str]], width: int = 80, *, terminal: bool = True) -> list[str]:
    row = {"state": "running", "role": "Candidate", "member": "staged", "term": 12345, "http": "http://127.0.0.1:12345"}
    row |= {"pid": 12345, "commit_index": 123456, "applied_index": 1234567}
    rows = [row | {"node": f"n{number}"} for number in range(1, nodes + 1)]
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    console.print(cluster_table({"nodes": rows, "short": short}), soft_wrap=not terminal)
    return [line.rstrip() for line in out.getvalue().splitlines()]


ALL_CUT = {str(link): ["cut", "200±20ms"] for link in peer_links([f"n{number}" for number in range(1, 16)])}


@pytest.mark.parametrize(("width", "terminal"), [(80, True), (200, False)])
@pytest.mark.parametrize("nodes", [1, 9, 15])
def test_nodes_and_links_fit_the_terminal_or_the_usual_one_and_nothing_is_cut_short(
    nodes: int, width: int, terminal: bool
) -> None:
    links = {name: words for name, words in ALL_CUT.items() if all(int(end[1:]) <= nodes for end in name.split("->"))}
    lines = shown(nodes, links, width, terminal=terminal)
    assert [line for line in lines if len(line) > 80 or "…" in line] == []
    row = "  ".join(["n1  ", "12345", "Candidate", "staged", "12345", "123456", "1234567"])
    assert f"{row}  http://127.0.0.1:12345" in lines
    assert len(lines) >= 1 + nodes


def test_a_partition_is_told_below_the_nodes() -> None:
    parted = {"n1->n2": ["cut"], "n2->n1": ["cut"], "client->n1": ["refuse"]}
    *_, partition, heading, row = shown(2, parted)
    assert (partition, heading, row) == ("partition: {n1} | {n2}", "from/to  n1", "client   refuse")


def test_what_is_not_known_of_a_node_is_a_dash_and_its_state_stands_for_its_role() -> None:
    silent = {"node": "n1", "pid": None, "role": None, "member": None, "term": None}
    silent |= {"commit_index": None, "applied_index": None, "http": "h"}
    out = io.StringIO()
    rows = [{**silent, "state": state} for state in ("running", "paused", "down")]
    Console(file=out, width=80).print(cluster_table({"nodes": rows, "short": {}}))
    said = [line.split() for line in out.getvalue().splitlines()[1:]]
    dashes = ["-"] * 4
    assert said == [["n1", "-", *role.split(), *dashes, "h"] for role in ("no answer", "paused", "down")]


def told(words: str, beside: str = "", *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    tell(Console(file=out, width=20, force_terminal=terminal, color_system=None), words, beside=beside)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_line_that_is_too_wide_for_the_terminal_goes_on_below_its_beginning() -> None:
    assert told("one two three four five six") == ["one two three four", "five six"]
    assert told("  one two three four five\nend") == ["  one two three four", "  five", "end"]
    assert told("one two three four", "[bold]VALID[/]  ") == ["VALID  one two three", "       four"]
    assert told("[not] markup") == ["[not] markup"]


def test_what_people_copy_and_what_goes_through_a_pipe_stays_in_one_line() -> None:
    path, command = f"/a/{'very/' * 5}long/path", "python -m bench run kill_leader --seed 7"
    assert told(f"  {path}\n  {command}") == [f"  {path}", f"  {command}"]
    assert told("one two three four five six", "VALID  ", terminal=False) == ["VALID  one two three four five six"]
