"""Tables of a cluster's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.picture import picture
from bench.store import StoredRun
from bench.verdict import Verdict
from faults.links import Link

ROLE_COLOURS = {"Leader": "bold green", "Follower": "cyan", "Candidate": "yellow", "down": "red", "paused": "magenta"}
VERDICT_COLOURS = {
    Verdict.VALID: "green",
    Verdict.INVALID: "bold red",
    Verdict.UNKNOWN: "yellow",
    Verdict.SKIPPED: "dim",
}
PIPE_WIDTH = 200
USUAL_WIDTH = 80
COPIED = ("/", "python -m bench")
"""What a line of its own begins with that people copy."""


def console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; in a pipe, wide enough for a row."""
    found = Console(highlight=False, stderr=stderr)
    return found if found.is_terminal else Console(highlight=False, stderr=stderr, width=PIPE_WIDTH)


def tell(out: Console, words: str, *, beside: str = "") -> None:
    """Print the lines of `words`, the first of them `beside` something, which is markup. On a terminal a line that is
    too wide goes on below its beginning. Paths and commands stay whole, because people copy them."""
    for line in words.splitlines():
        text = line.lstrip(" ")
        head = f"{beside}{line[: len(line) - len(text)]}"
        shown = _coloured(text)
        if not out.is_terminal or text.startswith(COPIED):
            out.print(f"{head}{shown}", soft_wrap=True)
        elif not head:
            out.print(shown)
        else:
            grid = Table.grid()
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            grid.add_row(head, shown)
            out.print(grid)
        beside = ""


def _coloured(text: str) -> str:
    """As markup; a verdict at its beginning has its colour."""
    word = text.partition(" ")[0]
    colour = VERDICT_COLOURS.get(Verdict(word)) if word in set(Verdict) else None
    return f"[{colour}]{word}[/]{escape(text[len(word) :])}" if colour else escape(text)


def size_in_words(size_bytes: int) -> str:
    """A size for people to read."""
    size, units = float(size_bytes), iter(("B", "KiB", "MiB"))
    for unit in units:
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def where_kept(run: StoredRun) -> str:
    """The last word on a cluster that has ended."""
    return f"its run is kept in {run.folder} ({size_in_words(run.size_bytes)})"


COLUMNS = {
    "node": "node",
    "pid": "pid",
    "role": "role",
    "member": "member",
    "term": "term",
    "commit": "commit_index",
    "applied": "applied_index",
    "HTTP": "http",
}
"""The headings, and where a row of the status has what stands below."""
NUMBERS = ("pid", "term", "commit", "applied")


def cluster_table(status: Mapping[str, Any]) -> RenderableType:
    """One row per node, and below it the links that are not simply up."""
    table = Table(box=None, pad_edge=False)
    for heading in COLUMNS:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)
    for row in status["nodes"]:
        role = role_of(row)
        cells = {**row, "role": f"[{ROLE_COLOURS.get(role, 'white')}]{role}[/]"}
        table.add_row(*("-" if cells[field] is None else str(cells[field]) for field in COLUMNS.values()))
    return Group(table, _Links(status))


def role_of(row: Mapping[str, Any]) -> str:
    """A node's role, or why it has none."""
    return str(row["role"] or ("no answer" if row["state"] == "running" else row["state"]))


@dataclass(frozen=True)
class _Links:
    """As wide as the terminal, or as most are."""

    status: Mapping[str, Any]

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        nodes = [row["node"] for row in self.status["nodes"]]
        wrong = {Link(*name.split("->")): words for name, words in self.status["short"].items()}
        width = options.max_width if out.is_terminal else USUAL_WIDTH
        yield from (Text(line) for line in picture(nodes, wrong, width))
