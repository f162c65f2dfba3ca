"""Durability: what was acknowledged is there, as far as clients can tell.

Clients know of a key which writes of it were acknowledged and where each stands in the log (its modify_index). So they
know which was the last, and what a *fresh* read of the key may show: what the last one left, or what a write left that
may have come after it, because its outcome is unknown or because it was acknowledged later.

A read is fresh from some instant on: whatever was acknowledged before must be seen. A linearizable read is fresh from
when it was asked for. So is a read by a lease, as long as clocks run alike. A stale read is fresh only where the bench
has seen that all members had applied the same log (`agreed` in the timeline), from then on, and until the node starts
again. All other reads show what they like.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from bench.checkers.clocks import unlike
from bench.checkers.faults import requests_that_may_come_twice
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import Evidence, Record
from bench.operations import Cas, Delete, Freshness, Get, Operation, Outcome, Put, Told
from bench.timeline import line
from bench.verdict import Finding, Verdict
from bench.words import counted

CHECK = "acknowledged_writes_survive"
STARTS_ANEW = ("kill", "restart", "died", "shut_down")
"""After which a node may read what is older than what it read before."""


class Effect(NamedTuple):
    """What one write leaves at one key."""

    write: Operation
    value: str | None
    """None is no key."""
    stands_at: int
    """Its index in the log; -1 if nobody was told."""

    @property
    def acknowledged(self) -> bool:
        return self.write.outcome is Outcome.OK


class FreshRead(NamedTuple):
    read: Operation
    value: str | None
    since_s: float
    """Whatever was acknowledged before must be seen."""


@rests_on_stable_storage
def acknowledged_writes_survive(evidence: Evidence) -> Finding:
    """Every fresh read of a key shows what the last acknowledged write left there, or what may have come after it; and
    of each key that was written there is a fresh read after the last acknowledgement.

    UNKNOWN where a key was not read so, and where two acknowledged writes of a key do not say which was later.
    """
    effects, reads = _by_key(evidence)
    acknowledged = {key: found for key, found in effects.items() if any(effect.acknowledged for effect in found)}
    unread = 0
    for key, found in acknowledged.items():
        done = [effect for effect in found if effect.acknowledged]
        if len(done) > 1 and min(effect.stands_at for effect in done) < 0:
            reason = f"{len(done)} writes of {key} were acknowledged, and not each says where it stands in the log"
            return Finding(CHECK, Verdict.UNKNOWN, reason)
        written = _Written(found)
        for read in reads[key]:
            if wrong := _lost(key, written, read):
                write, reason = wrong
                shown = (line(write), line(read.read))
                return Finding(CHECK, Verdict.INVALID, reason, read.read.completed_s, shown)
        last_s = max(effect.write.completed_s for effect in done)
        unread += not any(read.since_s >= last_s for read in reads[key])
    return _summed_up(acknowledged.values(), unread)


def _summed_up(acknowledged: Iterable[list[Effect]], unread: int) -> Finding:
    keys = list(acknowledged)
    if not keys:
        return Finding(CHECK, Verdict.UNKNOWN, "no write was acknowledged, so nothing was checked")
    if unread:
        reason = f"{unread} of {counted(len(keys), 'written key')} not read back after the last acknowledged write, "
        reason += "as read_back(cluster) does"
        return Finding(CHECK, Verdict.UNKNOWN, reason)
    count = sum(effect.acknowledged for found in keys for effect in found)
    each = "each read back" if count == len(keys) else f"of {len(keys)} keys, the last of each read back"
    return Finding(CHECK, Verdict.VALID, f"{counted(count, 'acknowledged write')}, {each}")


def _by_key(evidence: Evidence) -> tuple[dict[str, list[Effect]], dict[str, list[FreshRead]]]:
    """What writes may have left at each key, and the fresh reads of it."""
    fresh, doubled = _Freshness(evidence), requests_that_may_come_twice(evidence)
    effects: dict[str, list[Effect]] = defaultdict(list)
    reads: dict[str, list[FreshRead]] = defaultdict(list)
    for part in evidence.parts:
        match part.asked:
            case Get(key=key, freshness=freshness) if part.outcome is Outcome.OK:
                since_s = fresh.since(part, freshness)
                if since_s is not None:
                    reads[key].append(FreshRead(part, part.value, since_s))
            case Put(key=key, value=value) | Cas(key=key, value=value):
                effects[key] += _effects(part, value, doubled(part))
            case Delete(key=key):
                effects[key] += _effects(part, None, doubled(part))
    return effects, reads


def _effects(write: Operation, value: str | None, doubled: bool) -> Iterator[Effect]:
    """What the write may have left. Where requests may come twice, one that was refused may have been taken on when it
    came again, and one that is not numbered may take effect once more."""
    if write.outcome is not Outcome.FAILED:
        yield Effect(write, value, -1 if write.modify_index is None else write.modify_index)
    if doubled and (not write.decided or not getattr(write.asked, "sequence", 0)):
        again = msgspec.structs.replace(write, told=Told(Outcome.UNKNOWN, "it may have come twice"))
        yield Effect(again, value, -1)


def _later(one: Effect, other: Effect) -> Effect:
    """In the log."""
    return other if other.stands_at > one.stands_at else one


class _Written:
    """The effects at one key, as reads of it are judged by them."""

    def __init__(self, effects: Iterable[Effect]) -> None:
        effects = list(effects)
        done = sorted((one for one in effects if one.acknowledged), key=lambda effect: effect.write.completed_s)
        self._done_s = [effect.write.completed_s for effect in done]
        self._last = list(itertools.accumulate(done, _later))
        """The last in the log of those up to each."""
        self._of_value: dict[str | None, list[Effect]] = defaultdict(list)
        for effect in effects:
            self._of_value[effect.value].append(effect)

    def due(self, since_s: float) -> Effect | None:
        """The last of what had been acknowledged by then."""
        count = bisect.bisect_right(self._done_s, since_s)
        return self._last[count - 1] if count else None

    def may_follow(self, last: Effect, read: FreshRead) -> bool:
        """Whether the value that was read may have come between that and the read."""
        return any(
            (not effect.acknowledged or effect.stands_at > last.stands_at)
            and effect.write.invoked_s <= read.read.completed_s
            for effect in self._of_value[read.value]
        )


def _lost(key: str, written: _Written, read: FreshRead) -> tuple[Operation, str] | None:
    """The write that it ought to show, and what is wrong in words; None if nothing is."""
    last = written.due(read.since_s)
    if last is None or read.value == last.value or written.may_follow(last, read):
        return None
    told = f"{key} = {last.value!r}" if last.value is not None else f"the deletion of {key}"
    return last.write, (
        f"{told} was acknowledged by {last.write.node} at {last.write.completed_s:.4f}, "
        f"but {read.read.node} read {read.value!r} at {read.read.invoked_s:.4f}"
    )


class _Freshness:
    """From when on reads are fresh, by what the bench saw."""

    def __init__(self, evidence: Evidence) -> None:
        self._told: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
        """Of each node, when something was seen, and since when it had what all had; None where that has ended."""
        self._alike = not unlike(evidence)
        for record in evidence.timeline:
            self._take(record)

    def _take(self, record: Record) -> None:
        match record:
            case {"event": "agreed", "nodes": nodes, "since_s": since_s}:
                for node in nodes:
                    self._told[node].append((record["at_s"], since_s))
            case {"event": event, "node": node} if event in STARTS_ANEW:
                self._told[node].append((record["at_s"], None))

    def since(self, read: Operation, freshness: Freshness) -> float | None:
        """None of a read that is not fresh."""
        if freshness is Freshness.STALE:
            return self._agreed_since(read)
        return read.invoked_s if self._alike or freshness is Freshness.LINEARIZABLE else None

    def _agreed_since(self, read: Operation) -> float | None:
        before = [since_s for at_s, since_s in self._told[read.node] if at_s <= read.invoked_s]
        amid = any(
            since_s is None and read.invoked_s < at_s <= read.completed_s for at_s, since_s in self._told[read.node]
        )
        return before[-1] if before and not amid else None
