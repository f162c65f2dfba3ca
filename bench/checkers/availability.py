"""Availability: for how long nobody's write was acknowledged although somebody asked, and what was broken then."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from bench.checkers.majorities import end_of
from bench.evidence import Evidence
from bench.operations import Operation, Writing
from bench.timeline import in_force_within
from bench.verdict import Finding, Verdict
from bench.words import SLOW_S, counted

CHECK = "availability"
PAUSE_S = 1.0
"""Who was not served and asks again within this long has been asking all the while; players pause for half as long."""
SHOWN = 3
"""So many of the next longest are told."""
MOST_FAULTS = 2
"""So many of the faults of a gap are told in its line."""


class Gap(NamedTuple):
    """A span in which somebody asked for writes, and none was acknowledged."""

    lasted_s: float
    since_s: float

    @property
    def until_s(self) -> float:
        return self.since_s + self.lasted_s


def availability(evidence: Evidence) -> Finding:
    """The longest time without an acknowledged write while somebody was asking, beside the faults that were in force at
    any instant of it. A figure, which convicts nobody: no outage is too long for a cluster that is broken enough."""
    end_s = end_of(evidence)
    writes = [one for one in evidence.history if isinstance(one.asked, Writing) and one.invoked_s <= end_s]
    gaps = sorted(_gaps(writes, end_s), key=lambda gap: (-gap.lasted_s, gap.since_s))
    if not gaps:
        return Finding(CHECK, Verdict.VALID, "nobody asked for a write")
    others = [gap for gap in gaps[1 : SHOWN + 1] if gap.lasted_s >= SLOW_S]
    details = tuple(f"then {_told(gap, evidence)}" for gap in others)
    return Finding(CHECK, Verdict.VALID, f"longest {_told(gaps[0], evidence)}", details=details)


def _told(gap: Gap, evidence: Evidence) -> str:
    faults = in_force_within(evidence, gap.since_s, gap.until_s)
    more = [f"and {counted(len(faults) - MOST_FAULTS, 'more fault')}"] if len(faults) > MOST_FAULTS else []
    excuse = ", ".join([*faults[:MOST_FAULTS], *more]) or "with no fault in force"
    return f"{gap.lasted_s:.2f} s without an acknowledgement, from {gap.since_s:.3f}, {excuse}"


def _gaps(writes: list[Operation], end_s: float) -> Iterator[Gap]:
    """Between acknowledgements, from the first question to the last answer of each time of asking. A refusal by the
    state machine acknowledges that it was asked."""
    answered_s = sorted(write.completed_s for write in writes if write.decided)
    for since_s, until_s in _times_of_asking(writes, end_s):
        within = answered_s[bisect.bisect_right(answered_s, since_s) : bisect.bisect_left(answered_s, until_s)]
        marks = [since_s, *within, until_s]
        yield from (Gap(after_s - before_s, before_s) for before_s, after_s in itertools.pairwise(marks))


def _times_of_asking(writes: list[Operation], end_s: float) -> list[tuple[float, float]]:
    """Spans in each of which at least one write was under way at any instant, or was about to be asked for again. So a
    pause of the story is in none."""
    spans: list[tuple[float, float]] = []
    asks_until_s = -math.inf
    for write in sorted(writes, key=lambda write: write.invoked_s):
        completed_s = min(write.completed_s, end_s)
        if write.invoked_s <= asks_until_s:
            since_s, until_s = spans.pop()
            spans.append((since_s, max(until_s, completed_s)))
        else:
            spans.append((write.invoked_s, completed_s))
        asks_until_s = max(asks_until_s, completed_s + (0.0 if write.decided else PAUSE_S))
    return spans
