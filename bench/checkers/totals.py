"""Lists, counters and sets that clients change together: whether what is read adds up.

The workloads `append`, `counter` and `set` (`bench.workload`) read a value, and replace it if it is still there. So
each change that was acknowledged is in whatever is read from then on, none is there that nobody asked for, none is
there twice, and a list only grows at its end. What is asked here follows from linearizability. But it is counted and
not searched, so it has an answer for histories of any length, and one that a person can add up again.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.checkers.clocks import fresh_reads
from bench.checkers.faults import requests_that_may_come_twice
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import Evidence
from bench.operations import Cas, Delete, Freshness, Get, Operation, Outcome, Put
from bench.timeline import line
from bench.verdict import Finding, Verdict
from bench.words import counted
from bench.workload import COUNTER, LIST, SET

CHECK = "totals_add_up"


class Change(NamedTuple):
    """One more element, or one added to a counter."""

    operation: Operation
    element: str
    may_be_done: bool
    is_done: bool


class Seen(NamedTuple):
    """What stood there, as a read or an acknowledged change shows it."""

    operation: Operation
    elements: Sequence[str]
    is_fresh: bool
    """Whether whatever was acknowledged before it was asked for must be in it."""


class Wrong(NamedTuple):
    what: str
    shown: tuple[Operation, ...]


class Total(NamedTuple):
    """All that is known of one key."""

    key: str
    changes: Sequence[Change]
    seen: Sequence[Seen]


@rests_on_stable_storage
def totals_add_up(evidence: Evidence) -> Finding:
    """What is read of lists, counters and sets has every change that was acknowledged before, each once, and none that
    nobody asked for; and of two lists of one key, one is the beginning of the other."""
    totals = list(_totals(evidence))
    for total in totals:
        for rule in RULES[_kind_of(total.key)]:
            for wrong in rule(total):
                at_s = max(operation.completed_s for operation in wrong.shown)
                return Finding(CHECK, Verdict.INVALID, wrong.what, at_s, tuple(map(line, wrong.shown)))
    if not totals:
        return Finding(CHECK, Verdict.VALID, "no list, counter or set was changed")
    kinds = Counter(_kind_of(total.key) for total in totals)
    changes = sum(change.is_done for total in totals for change in total.changes)
    told = ", ".join(counted(count, kind.removeprefix("work.")) for kind, count in kinds.items())
    return Finding(CHECK, Verdict.VALID, f"{told}, with {counted(changes, 'acknowledged change')}")


def _kind_of(key: str) -> str:
    return key.partition("-")[0]


def _totals(evidence: Evidence) -> Iterator[Total]:
    """Of each key that is named like one and was only read and replaced."""
    fresh = fresh_reads(evidence)
    doubled = requests_that_may_come_twice(evidence)
    found: dict[str, list[Operation]] = defaultdict(list)
    for part in evidence.parts:
        assert isinstance(part.asked, Put | Cas | Delete | Get)
        if _kind_of(part.asked.key) in RULES:
            found[part.asked.key].append(part)
    for key, parts in found.items():
        changes = [_change(part, doubled(part)) for part in parts if isinstance(part.asked, Cas)]
        reads = [part for part in parts if isinstance(part.asked, Get)]
        if changes and len(changes) + len(reads) == len(parts):
            yield Total(key, changes, [*_read(reads, fresh), *_left(changes)])


def _change(operation: Operation, doubled: bool) -> Change:
    assert isinstance(operation.asked, Cas)
    refused = operation.outcome is Outcome.FAILED and (operation.decided or not doubled)
    element = operation.asked.value.split()[-1]
    return Change(operation, element, not refused, operation.outcome is Outcome.OK)


def _read(reads: Iterable[Operation], fresh: Sequence[Freshness]) -> Iterator[Seen]:
    for read in reads:
        if read.outcome is Outcome.OK:
            assert isinstance(read.asked, Get)
            yield Seen(read, (read.value or "").split(), read.asked.freshness in fresh)


def _left(changes: Iterable[Change]) -> Iterator[Seen]:
    """What was there after a change, which must have what was acknowledged before it was asked for."""
    for change in changes:
        if change.is_done:
            assert isinstance(change.operation.asked, Cas)
            yield Seen(change.operation, change.operation.asked.value.split(), True)


# Rules


def _nothing_is_lost(total: Total) -> Iterator[Wrong]:
    for seen in total.seen:
        if seen.is_fresh:
            there = set(seen.elements)
            for change in total.changes:
                before = change.is_done and change.operation.completed_s < seen.operation.invoked_s
                if before and change.element not in there:
                    what = f"{change.element} was put into {total.key}, and is not in what was read later"
                    yield Wrong(what, (change.operation, seen.operation))


def _nothing_is_made_up(total: Total) -> Iterator[Wrong]:
    asked_s = {change.element: change.operation.invoked_s for change in total.changes if change.may_be_done}
    for seen in total.seen:
        for element in seen.elements:
            if element not in asked_s or asked_s[element] > seen.operation.completed_s:
                refused = [change.operation for change in total.changes if change.element == element]
                why = "was refused" if refused else "nobody has put there"
                yield Wrong(f"{total.key} has {element}, which {why}", (*refused[:1], seen.operation))


def _nothing_is_there_twice(total: Total) -> Iterator[Wrong]:
    for seen in total.seen:
        twice = [element for element, count in Counter(seen.elements).items() if count > 1]
        if twice:
            yield Wrong(f"{total.key} has {twice[0]} twice, which was put there once", (seen.operation,))


def _it_only_grows(total: Total) -> Iterator[Wrong]:
    """Of two lists, the shorter one is the beginning of the longer one."""
    by_length = sorted(total.seen, key=lambda seen: len(seen.elements))
    for shorter, longer in itertools.pairwise(by_length):
        if longer.elements[: len(shorter.elements)] != shorter.elements:
            what = f"{total.key} was read in two orders, and neither list is the beginning of the other"
            yield Wrong(what, (shorter.operation, longer.operation))


def _the_number_is_right(total: Total) -> Iterator[Wrong]:
    """At least as many as were acknowledged before, at most as many as were asked for."""
    for seen in total.seen:
        number, read = int(seen.elements[0]) if seen.elements else 0, seen.operation
        if isinstance(read.asked, Cas):
            continue
        done = sum(change.is_done and change.operation.completed_s < read.invoked_s for change in total.changes)
        asked = sum(change.may_be_done and change.operation.invoked_s < read.completed_s for change in total.changes)
        if (seen.is_fresh and number < done) or number > asked:
            what = f"{total.key} was read as {number}, and had been counted {done} times for certain, {asked} at most"
            yield Wrong(what, (read,))


Rule = Callable[[Total], Iterator[Wrong]]
RULES: Mapping[str, Sequence[Rule]] = {
    LIST: (_nothing_is_made_up, _nothing_is_there_twice, _it_only_grows, _nothing_is_lost),
    SET: (_nothing_is_made_up, _nothing_is_there_twice, _nothing_is_lost),
    COUNTER: (_the_number_is_right,),
}
"""By what a key's name begins with."""
