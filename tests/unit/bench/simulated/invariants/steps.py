"""Rounds of servers, made by hand, to be judged."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import pytest

from bench.cluster import PromiseBrokenError
from bench.simulated.invariants import Ledger
from bench.simulated.invariants.ledger import Disk, Step, Watched
from node import server as node
from node.machine.state_machine import StateMachine
from node.raft import Effects, Entry, EntryKind, FlowLimits, HardState, Log, Raft, Timing
from node.raft.transitions import Committed, MembershipChanged, Role, RoleChanged, Transition

ABC = ("a", "b", "c")
NOTHING = Effects(hard_state=None, snapshot=None, entries=(), messages=(), committed=(), reads=(), transitions=())


class Clock:
    """The world's own time."""

    def at(self, world_s: float) -> float:
        return world_s

    def when(self, local_s: float) -> float:
        return local_s


def raft(name: str, log: Log | None = None, hard_state: HardState | None = None) -> Raft:
    return Raft(
        name,
        log=log or Log(),
        hard_state=hard_state or HardState(),
        timing=Timing(),
        limits=FlowLimits(),
        rng=random.Random(1),
        now=0.0,
    )


SAID = node.Server(raft("a"), StateMachine(), policy=node.SnapshotPolicy(), process=1, now=0.0).status
"""What a server says of itself that has done nothing yet."""


def entry(index: int, term: int, data: bytes = b"", kind: EntryKind = EntryKind.COMMAND) -> Entry:
    return Entry(index, term, kind, data)


def entries(*terms: int) -> tuple[Entry, ...]:
    return tuple(entry(index, term) for index, term in enumerate(terms, 1))


def step(name: str = "a", *, before: Watched | None = None, log: Sequence[Entry] = (), **changed: Any) -> Step:
    """A round that changed nothing but what is given; `stored`, `messages` and `transitions` are its effects."""
    before = before or server(name)
    effects = msgspec.structs.replace(
        NOTHING,
        entries=tuple(changed.pop("stored", ())),
        transitions=tuple(changed.pop("transitions", ())),
        messages=tuple(changed.pop("messages", ())),
    )
    values: dict[str, Any] = {
        "before": before,
        "name": before.name,
        "at_s": 1.0,
        "now_s": 1.0,
        "role": Role.FOLLOWER,
        "term": 1,
        "voted_for": None,
        "commit_index": 0,
        "log": Log(log),
        "lease_until_s": 0.0,
        "matches": {},
        "voters": ABC,
        "configuration_index": 0,
        "effects": effects,
    }
    return Step(**{**values, **changed})


def server(name: str = "a", **known: Any) -> Watched:
    return Watched(name, raft(name), Clock(), **{"voters": ABC, **known})


def disks(**terms: Sequence[int]) -> dict[str, Disk]:
    found = {}
    for name, of in terms.items():
        found[name] = Disk()
        found[name].save(None, entries(*of), None)
    return found


def elected(term: int) -> Transition:
    return RoleChanged(at_s=1.0, term=term, role=Role.LEADER)


def commit(index: int, *, entry_term: int, term: int) -> Transition:
    return Committed(at_s=1.0, term=term, commit_index=index, entry_term=entry_term)


def members(index: int, voters: Collection[str]) -> Transition:
    return MembershipChanged(at_s=1.0, term=1, index=index, voters=tuple(voters), others=())


def goes_by(invariant: Callable[..., None], note: Callable[..., None], ledger: Ledger, *happened: Any) -> None:
    """It breaks nothing, and is noted."""
    invariant(ledger, *happened)
    note(ledger, *happened)


def assert_violated(invariant: Callable[..., None], *arguments: Any, words: str) -> None:
    with pytest.raises(PromiseBrokenError, match=words) as caught:
        invariant(*arguments)
    assert caught.value.promise == invariant.__name__
