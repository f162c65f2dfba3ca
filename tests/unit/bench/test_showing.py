"""What is shown of a cluster on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from bench.commands.showing import changes, cluster_table, tell
from bench.live.links import partition
from faults.cuts import split
from faults.links import peer_links


def row(node: str = "n1", **fields: Any) -> dict[str, Any]:
    is_what = {"pid": 4_194_304, "state": "running", "role": "Candidate", "term": 12345, "member": "staged"}
    has = {"commit_index": 1_234_567, "applied_index": 1_234_567, "http": "http://127.0.0.1:8500"}
    return {"node": node, **is_what, **has, **fields}


def status_of(*rows: dict[str, Any], links: dict[str, str] | None = None) -> dict[str, Any]:
    found = links or {}
    return {"nodes": rows, "links": found, "groups": partition([each["node"] for each in rows], found)}


def shown(status: dict[str, Any], width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(cluster_table(status))
    return [line.rstrip() for line in out.getvalue().splitlines()]


NINE = [row(f"n{number}") for number in range(1, 10)]


def test_nine_nodes_with_the_worst_that_can_be_said_of_them_fit_on_a_terminal() -> None:
    links = {str(link): "cut (refuse), 60000ms±60000ms" for link in peer_links([each["node"] for each in NINE])}
    for wrong in ({}, links, {"client->n9": "60000ms"}):
        lines = shown(status_of(*NINE, links=wrong))
        assert all(len(line) <= 80 and "…" not in line for line in lines), "\n".join(lines)


def test_a_partition_is_shown_as_its_groups() -> None:
    cut = {str(link): "cut (blackhole)" for link in split(["n1", "n2"], ["n3"])}
    lines = shown(status_of(row("n1"), row("n2"), row("n3"), links=cut))
    assert lines[-1] == "partition: {n1 n2} | {n3}"
    assert len(lines) == 5


def test_a_single_link_is_shown_by_its_ends() -> None:
    lines = shown(status_of(row("n1"), row("n2"), links={"n1->n2": "cut (hold)"}))
    assert lines[-3:] == ["from / to n1 n2", "n1           hold", "n2        ."]


def test_a_node_that_is_down_or_silent_has_a_dash_for_what_it_does_not_say() -> None:
    nothing = dict.fromkeys(("role", "term", "commit_index", "applied_index"))
    down, silent = row("n1", state="down", pid=None, **nothing), row("n2", **nothing)
    _, first, second = shown(status_of(down, silent))
    assert first.split() == ["n1", "-", "down", "-", "-", "-", "staged", "127.0.0.1:8500"]
    assert second.split()[2:4] == ["no", "answer"]


def test_what_has_changed_is_told_in_a_line_each_and_nothing_else() -> None:
    before = status_of(row("n1"), row("n2", role="Leader"), links={"n1->n2": "50ms"})
    after = status_of(row("n1"), row("n2", state="down"), links={"n2->n1": "cut (hold)"})
    assert list(changes(before, before)) == []
    assert list(changes(before, after)) == ["n2  down", "n1->n2  up", "n2->n1  cut (hold)"]
    assert list(changes({}, before)) == [
        "n1  Candidate in term 12345",
        "n2  Leader in term 12345",
        "n1->n2  50ms",
    ]


def test_a_partition_that_comes_and_goes_is_told() -> None:
    cut = {str(link): "cut (blackhole)" for link in split(["n1"], ["n2"])}
    whole, parted = status_of(row("n1"), row("n2")), status_of(row("n1"), row("n2"), links=cut)
    assert list(changes(whole, parted))[-1] == "partition  n1 | n2"
    assert list(changes(parted, whole))[-1] == "partition  none"


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
