"""Tables of a cluster's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Column, Table

from bench.live.links import ITSELF, UP, matrix
from bench.store import StoredRun
from bench.verdict import Verdict

ROLE_COLOURS = {"Leader": "bold green", "Follower": "cyan", "Candidate": "yellow", "down": "red", "paused": "magenta"}
VERDICT_COLOURS = {
    Verdict.VALID: "green",
    Verdict.INVALID: "bold red",
    Verdict.UNKNOWN: "yellow",
    Verdict.SKIPPED: "dim",
}
PIPE_WIDTH = 200
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


COLUMNS = ("node", "pid", "role", "term", "commit", "applied", "member", "HTTP")
NUMBERS = ("pid", "term", "commit", "applied")


def cluster_table(status: Mapping[str, Any]) -> Group:
    """A row for each node; below it the groups of a partition, and the links that are otherwise not simply up."""
    table = Table(*(_column(heading) for heading in COLUMNS), box=None, pad_edge=False)
    for row in status["nodes"]:
        role = row["role"] or ("no answer" if row["state"] == "running" else row["state"])
        cells = [row["node"], row["pid"], f"[{ROLE_COLOURS.get(role, 'white')}]{role}[/]", row["term"]]
        cells += [row["commit_index"], row["applied_index"], row["member"], row["http"].removeprefix("http://")]
        table.add_row(*("-" if cell is None else str(cell) for cell in cells))
    nodes = [row["node"] for row in status["nodes"]]
    parts: list[RenderableType] = [table]
    if status["groups"]:
        told = " | ".join(f"{{{' '.join(group)}}}" for group in status["groups"])
        parts.append(f"[red]partition:[/] {told}")
    cells_of = matrix(nodes, status["links"])
    return Group(*parts, *([_links(nodes, cells_of)] if cells_of else []))


def _column(heading: str) -> Column:
    return Column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)


def _links(nodes: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table("from / to", *nodes, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for source, *cells in rows:
        table.add_row(source, *(cell if cell in (UP, ITSELF) else f"[red]{escape(cell)}[/]" for cell in cells))
    return table


def changes(former: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[str]:
    """What is otherwise than it was, a line each; at first, how everything is."""
    nodes = {row["node"]: row for row in former.get("nodes", ())}
    for row in status["nodes"]:
        told = _of_a_node(row)
        if row["node"] not in nodes or told != _of_a_node(nodes[row["node"]]):
            yield f"{row['node']}  {told}"
    before = former.get("links", {})
    for link in sorted({*before, *status["links"]}):
        words = status["links"].get(link, "up")
        if words != before.get(link, "up"):
            yield f"{link}  {words}"
    if status["groups"] != former.get("groups", []):
        yield f"partition  {' | '.join(' '.join(group) for group in status['groups']) or 'none'}"


def _of_a_node(row: Mapping[str, Any]) -> str:
    if row["state"] != "running":
        return str(row["state"])
    return f"{row['role']} in term {row['term']}" if row["role"] else "no answer"
