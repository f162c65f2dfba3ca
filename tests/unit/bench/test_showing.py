"""What is shown of a cluster on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from bench.commands.showing import cluster_table, tell


def shown(links: dict[str, str], width: int) -> str:
    row = {"node": "n1", "pid": 18001, "state": "running", "role": "Leader", "term": 2, "commit_index": 3}
    status: dict[str, Any] = {"nodes": [row | {"applied_index": 3, "http": "http://127.0.0.1:8500"}], "links": links}
    out = io.StringIO()
    Console(file=out, width=width).print(cluster_table(status))
    return out.getvalue()


def test_links_that_are_down_alike_are_named_together() -> None:
    links = {"n1->n2": "cut (blackhole)", "n2->n1": "cut (blackhole)", "client->n1": "50ms", "n2->n3": "cut (hold)"}
    assert "cut (blackhole): n1->n2, n2->n1; 50ms: client->n1" in shown(links, 200)
    assert "n2->n3" not in shown(links, 200)


def test_a_narrow_terminal_loses_nothing_of_what_is_down() -> None:
    table = shown({"n1->n2": "cut (blackhole)", "n2->n1": "cut (blackhole)"}, 80)
    assert "…" not in table
    assert all(word in table for word in ("(blackhole)", "n1->n2", "n2->n1"))


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
