"""What several reads together promise, also where each of them may be old.

A read that may be old shows what its node has applied. So whoever asks a node twice, one question after the other, is
never shown an earlier state the second time, as long as that node has lived on; and what one read shows of several keys
was there at one instant.

Clients can see at which place in the log a read was answered, within bounds. An acknowledged write says where it
stands, so a value was there from its write's index on, until the next acknowledged write of the key. That takes values
that were written once; where that is not so, or where it is not known when a key was deleted, nothing is concluded.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from bench.checkers.clocks import fresh_reads
from bench.checkers.faults import requests_that_may_come_twice
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import Evidence
from bench.operations import Cas, Delete, Get, GetAll, Operation, Outcome, Put
from bench.timeline import line
from bench.verdict import Finding, Verdict
from bench.words import counted

STARTS_ANEW = ("kill", "died", "shut_down", "restart", "start")
"""Records after which a node may show what is older than what it has shown."""


class Span(NamedTuple):
    """The indexes of the log after which a key had a value, both included."""

    first: int
    last: float


ANY = Span(0, math.inf)


class Read(NamedTuple):
    """A read that was answered, and what of it was applied then."""

    operation: Operation
    spans: Mapping[str, Span]

    @property
    def first(self) -> int:
        return max((span.first for span in self.spans.values()), default=0)

    @property
    def last(self) -> float:
        return min((span.last for span in self.spans.values()), default=math.inf)


@rests_on_stable_storage
def reads_never_go_back(evidence: Evidence) -> Finding:
    """Of two reads that one node answered, one asked for after the other was answered, the later one shows no earlier
    state, unless the node has started anew in between."""
    check = "reads_never_go_back"
    reads, lives = _reads(evidence), _lives(evidence)
    asked = sorted(reads, key=lambda read: read.operation.invoked_s)
    done = iter(sorted(reads, key=lambda read: read.operation.completed_s))
    newest: dict[tuple[str, int], Read] = {}
    earlier = next(done, None)
    for read in asked:
        while earlier is not None and earlier.operation.completed_s < read.operation.invoked_s:
            life = lives.of(earlier.operation)
            if life is not None and (life not in newest or newest[life].first < earlier.first):
                newest[life] = earlier
            earlier = next(done, None)
        life = lives.of(read.operation)
        former = newest.get(life) if life is not None else None
        if former is not None and read.last < former.first:
            reason = f"{read.operation.node} had shown what stands at {former.first}, and then showed what ended "
            reason += f"at {read.last:g}"
            shown = (line(former.operation), line(read.operation))
            return Finding(check, Verdict.INVALID, reason, read.operation.completed_s, shown)
    return Finding(check, Verdict.VALID, f"{counted(len(reads), 'read')}, none older than one before at its node")


@rests_on_stable_storage
def several_keys_are_read_at_once(evidence: Evidence) -> Finding:
    """What a read shows of several keys was there at one instant: a batch is seen as a whole or not at all."""
    check = "several_keys_are_read_at_once"
    reads = [read for read in _reads(evidence) if isinstance(read.operation.asked, GetAll)]
    for read in reads:
        if read.first > read.last:
            newer = max(read.spans, key=lambda key: read.spans[key].first)
            older = min(read.spans, key=lambda key: read.spans[key].last)
            reason = f"{read.operation.node} showed {newer} as it was written at {read.first}, and {older} as it was "
            reason += f"no longer after {read.last:g}"
            return Finding(check, Verdict.INVALID, reason, read.operation.completed_s, (line(read.operation),))
    return Finding(check, Verdict.VALID, f"{counted(len(reads), 'read')} of several keys, each of one instant")


@rests_on_stable_storage
def retried_writes_take_effect_once(evidence: Evidence) -> Finding:
    """A write that was asked for again, and says whose it is, took effect once (thesis 6.3): what it left is not seen
    again once it was overwritten, and not at all if it was refused."""
    check = "retried_writes_take_effect_once"
    writers = Counter((_key(part), _left(part)) for part in evidence.parts if not isinstance(part.asked, Get))
    retried = {
        (_key(part), _left(part)): part
        for part in evidence.parts
        if len(part.tries) > 1 and part.decided and writers[_key(part), _left(part)] == 1
    }
    fresh = fresh_reads(evidence)
    overwritten = _Overwritten(evidence.parts)
    for read in evidence.parts:
        if not isinstance(read.asked, Get) or read.outcome is not Outcome.OK or read.value is None:
            continue
        write = retried.get((read.asked.key, read.value))
        if write is not None and (why := overwritten.why_not(write, read, read.asked.freshness in fresh)):
            reason = (
                f"{read.asked.key} = {read.value!r} was asked for {len(write.tries)} times, {why}, and was there at "
            )
            reason += f"{read.completed_s:.4f}"
            return Finding(check, Verdict.INVALID, reason, read.completed_s, (line(write), line(read)))
    return Finding(check, Verdict.VALID, f"{counted(len(retried), 'retried write')}, none done twice")


class _Overwritten:
    """When what a write left was known to be overwritten."""

    def __init__(self, parts: Iterable[Operation]) -> None:
        self._done: dict[str, list[Operation]] = defaultdict(list)
        for part in parts:
            if not isinstance(part.asked, Get) and part.outcome is Outcome.OK and part.modify_index is not None:
                self._done[_key(part)].append(part)

    def why_not(self, write: Operation, read: Operation, is_fresh: bool) -> str:
        """Why the read must not show what the write left; empty if it may."""
        if write.outcome is Outcome.FAILED:
            return f"was refused ({write.reason})"
        later = [
            other
            for other in self._done[_key(write)]
            if is_fresh
            and (other.modify_index or 0) > (write.modify_index or math.inf)
            and other.completed_s < read.invoked_s
        ]
        return f"was overwritten by what stands at {later[0].modify_index}" if later else ""


class _Versions:
    """Of one key: which value stood where."""

    def __init__(self) -> None:
        self._at: dict[str, set[int | None]] = defaultdict(set)
        self._ends: list[int] = []
        self._may_be_gone = False

    def add(self, value: str | None, index: int | None) -> None:
        """A write that may have taken effect; `index` is None if nobody was told where it stands."""
        if value is None:
            self._may_be_gone = True
        else:
            self._at[value].add(index)
        if index is not None:
            bisect.insort(self._ends, index)

    def span(self, value: str | None) -> Span:
        if value is None:
            return ANY if self._may_be_gone else Span(0, self._before_next(0))
        found = self._at.get(value, {None})
        if len(found) > 1 or None in found:
            return ANY
        (index,) = found
        assert index is not None
        return Span(index, self._before_next(index))

    def _before_next(self, index: int) -> float:
        place = bisect.bisect_right(self._ends, index)
        return self._ends[place] - 1 if place < len(self._ends) else math.inf


def _reads(evidence: Evidence) -> list[Read]:
    """All reads that were answered, in the order of the history."""
    doubled = requests_that_may_come_twice(evidence)
    versions: dict[str, _Versions] = defaultdict(_Versions)
    for part in evidence.parts:
        if not isinstance(part.asked, Get):
            for index in _indexes(part, doubled(part)):
                versions[_key(part)].add(_left(part), index)
    reads = [operation for operation in evidence.history if isinstance(operation.asked, Get | GetAll)]
    return [
        Read(read, {key: versions[key].span(value) for key, value in _found(read)})
        for read in reads
        if read.outcome is Outcome.OK
    ]


def _found(read: Operation) -> Iterator[tuple[str, str | None]]:
    if isinstance(read.asked, Get):
        yield read.asked.key, read.value
    elif isinstance(read.asked, GetAll):
        yield from ((key, read.values.get(key)) for key in read.asked.keys)


def _indexes(write: Operation, doubled: bool) -> Iterator[int | None]:
    """Where it stands, as far as it may stand anywhere. Where requests may come twice, one that was refused may have
    been taken on when it came again, and one that is not numbered may take effect once more."""
    if write.outcome is not Outcome.FAILED:
        yield write.modify_index if write.outcome is Outcome.OK else None
    if doubled and (not write.decided or not getattr(write.asked, "sequence", 0)):
        yield None


def _key(part: Operation) -> str:
    assert isinstance(part.asked, Put | Cas | Delete)
    return part.asked.key


def _left(write: Operation) -> str | None:
    return write.asked.value if isinstance(write.asked, Put | Cas) else None


class _Lives:
    """Which life of a node answered: nodes die, and are started anew."""

    def __init__(self, began_s: Mapping[str, Iterable[float]]) -> None:
        self._began_s = {node: sorted(times) for node, times in began_s.items()}

    def of(self, operation: Operation) -> tuple[str, int] | None:
        """None if the node may have started anew while it was being asked."""
        began_s = self._began_s.get(operation.node, [])
        before = bisect.bisect_right(began_s, operation.invoked_s)
        if before != bisect.bisect_right(began_s, operation.completed_s):
            return None
        return operation.node, before


def _lives(evidence: Evidence) -> _Lives:
    began_s: dict[str, list[float]] = defaultdict(list)
    for record in evidence.timeline:
        if record["event"] in STARTS_ANEW:
            began_s[record["node"]].append(record["at_s"])
    for node, trace in evidence.traces.items():
        began_s[node] += [record["at_s"] for record in trace if record["event"] == "start"]
    return _Lives(began_s)
