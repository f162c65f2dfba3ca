"""Tables of a cluster's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
        if not out.is_terminal or text.startswith(COPIED):
            out.print(f"{head}{escape(text)}", soft_wrap=True)
        elif not head:
            out.print(escape(text))
        else:
            grid = Table.grid()
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            grid.add_row(head, escape(text))
            out.print(grid)
        beside = ""


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


def cluster_table(status: Mapping[str, Any]) -> Table:
    """One row per node; `links` are those of its links that are not simply up."""
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "pid", "role", "term", "commit", "applied", "HTTP", "links down or slow"):
        numbers = heading in ("pid", "term", "commit", "applied")
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=heading == "HTTP", overflow="fold")
    for row in status["nodes"]:
        role = row["role"] or ("no answer" if row["state"] == "running" else row["state"])
        alike: dict[str, list[str]] = {}
        for link, state in status["links"].items():
            if row["node"] in link.split("->"):
                alike.setdefault(state, []).append(link)
        links = [f"{state}: {', '.join(names)}" for state, names in alike.items()]
        cells = [row["node"], row["pid"], f"[{ROLE_COLOURS.get(role, 'white')}]{role}[/]"]
        cells += [row["term"], row["commit_index"], row["applied_index"], row["http"], "; ".join(links)]
        table.add_row(*("-" if cell is None else str(cell) for cell in cells))
    return table
