"""The links of a cluster in a few short lines: who is cut off from whom, and a matrix of what else is wrong. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence

from faults.cuts import split
from faults.links import CLIENT, Link, LinkState, Mode

CUTS = {Mode.BLACKHOLE: "cut", Mode.HOLD: "hold", Mode.REFUSE: "refuse"}
PAST = "past"
"""Something went past the link."""
UP, SELF = ".", ""
GAP = "  "
CORNER = "from/to"


def groups_of(nodes: Sequence[str], cut: Collection[Link]) -> tuple[tuple[str, ...], ...]:
    """The groups of nodes that these cut links part from one another, each whole within itself; none where the links
    do not do exactly that. Links of clients do not count."""
    between = {link for link in cut if link.source != CLIENT}
    left, groups = list(nodes), []
    while left:
        group = tuple(node for node in left if Link(left[0], node) not in between)
        groups.append(group)
        left = [node for node in left if node not in group]
    return tuple(groups) if between and split(*groups) == between else ()


def words_of(state: LinkState, *, bypassed: bool = False) -> list[str]:
    """What is wrong with a link, a short word for each, the cut first."""
    words = [CUTS[state.cut]] if state.cut else []
    if state.latency_ms or state.jitter_ms:
        words.append(f"{state.latency_ms}{f'±{state.jitter_ms}' if state.jitter_ms else ''}ms")
    if state.rate_kib_s is not None:
        words.append(f"{state.rate_kib_s}K")
    return [*words, *["noise"] * state.noisy, *[PAST] * bypassed]


def picture(nodes: Sequence[str], wrong: Mapping[Link, Sequence[str]], width: int) -> Iterator[str]:
    """The partition, if the cuts are one, and a matrix of the rest. `wrong` has the `words_of` each link that is not
    simply up."""
    cuts = {link: words[0] for link, words in wrong.items() if words[0] in CUTS.values()}
    groups = groups_of(nodes, cuts)
    parted = split(*groups)
    modes = sorted({cuts[link] for link in parted})
    if groups:
        yield from textwrap.wrap(_partition(groups, modes), width, subsequent_indent=GAP)
    # Where the line says it all, the matrix need not say it again.
    said = parted if len(modes) == 1 else ()
    rest = {link: words[1:] if link in said else words for link, words in wrong.items()}
    yield from _matrix(nodes, {link: "+".join(words) for link, words in rest.items() if words}, width)


def _partition(groups: Sequence[Sequence[str]], modes: Sequence[str]) -> str:
    how = "" if modes == [CUTS[Mode.BLACKHOLE]] else f" ({', '.join(modes)})"
    sides = [" ".join(group) for group in groups]
    return f"partition{how}: {' | '.join(f'{{{side}}}' for side in sides)}"


def _matrix(nodes: Sequence[str], cells: Mapping[Link, str], width: int) -> Iterator[str]:
    """A row for who sends, a column for who receives, of those with a link in `cells`. Columns for which there is no
    room go on below."""
    rows = [name for name in (*nodes, CLIENT) if any(link.source == name for link in cells)]
    columns = [
        [node, *(SELF if row == node else cells.get(Link(row, node), UP) for row in rows)]
        for node in nodes
        if any(link.target == node for link in cells)
    ]
    margin, left = _padded([CORNER, *rows]), [_padded(column) for column in columns]
    while left:
        fits = max(1, sum(1 for end in range(len(left)) if _width([margin, *left[: end + 1]]) <= width))
        for line in zip(margin, *left[:fits], strict=True):
            yield GAP.join(line).rstrip()
        left = left[fits:]


def _padded(column: Sequence[str]) -> list[str]:
    return [text.ljust(max(map(len, column))) for text in column]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return len(GAP.join(column[0] for column in columns))
