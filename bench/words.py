"""Questions and faults in words: one short clause each. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Join,
    Leave,
    Operation,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
)
from bench.schedule import (
    ROLES,
    AnyFault,
    Ask,
    Clients,
    Crash,
    Cut,
    Delay,
    Drift,
    FullDisk,
    JoinAstray,
    Limit,
    Move,
    Noise,
    Pause,
    SlowDisk,
)
from faults.links import Link

SLOW_S = 0.05
"""An answer that takes longer is told with how long it took."""
MOST_PARTS = 4
"""So many keys of a batch are named."""
LONG = 20
"""A longer text is told by its beginning and its length."""


def counted(number: int, one: str, several: str = "") -> str:
    """So many of them; `several` where an s is not enough."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def question(asked: Question) -> str:
    """What is asked, and which of its client's writes that is."""
    sequence = getattr(asked, "sequence", 0)
    return f"{_question(asked)}{f' (write {sequence})' if sequence else ''}"


def _question(asked: Question) -> str:
    match asked:
        case Get(key=key, freshness=freshness):
            return f"get {key}" if freshness is Freshness.STALE else f"{freshness.value} get {key}"
        case GetAll(keys=keys):
            return f"get {_some(keys)}"
        case Put(key=key, value=value):
            return _put(Item(key, value))
        case Cas(key=key, value=value, expected_index=expected):
            return _put(Item(key, value, expected))
        case Delete(key=key, expected_index=expected):
            return f"delete {key}{_if_at(expected)}"
        case SetAll(items=items):
            return _some([_put(item) for item in items], "; ")
        case DeleteAll(items=items):
            return f"delete {_some([f'{item.key}{_if_at(item.expected_index)}' for item in items])}"
        case Join(node=node, address=address):
            return f"join {node}{f' at {address}' if address else ''}"
        case Leave(node=node):
            return f"leave {node}"
        case Transfer(to=to):
            return f"transfer {to}".rstrip()
        case TakeSnapshot():
            return "snapshot"


def _some(parts: Sequence[str], between: str = ", ") -> str:
    """The first of them, and how many more."""
    more = f" and {len(parts) - MOST_PARTS} more" if len(parts) > MOST_PARTS else ""
    return f"{between.join(parts[:MOST_PARTS])}{more}"


def operation(done: Operation) -> str:
    """What was asked of whom, and what came of it when."""
    tries = f", in {len(done.tries)} tries" if done.tries else ""
    took_s = done.completed_s - done.invoked_s
    took = f" after {took_s:.4f} s" if math.isfinite(took_s) and took_s >= SLOW_S else ""
    missing = isinstance(done.asked, Get) and done.outcome is Outcome.OK and done.told.result is None
    came = "ok, no such key" if missing else outcome(done.told, found=True)
    return f"asks {done.node}: {question(done.asked)}: {came}{took}{tries}"


def outcome(told: Told, *, found: bool = False) -> str:
    """Whether it was done, and why not; with `found`, what was read, or where a write stands in the log."""
    if told.outcome is not Outcome.OK:
        return f"{told.outcome.value}{f' ({told.reason})' if told.reason else ''}"
    if not found:
        return "ok"
    values = [f"{key} = {value}" for key, value in told.result.items()] if isinstance(told.result, Mapping) else []
    read = told.result if isinstance(told.result, str) else ", ".join(values)
    stands = f", at index {told.modify_index}" if told.modify_index is not None else ""
    return f"ok{f', {short(read)}' if read else ''}{stands}"


NO_KEY = "key not found"
"""Why the nodes refuse to delete what is not there."""


def no_key(key: str) -> str:
    return f"there is no key {key}"


def not_served(told: Operation, why: str) -> str:
    """What a person is to know of a get, put or delete that is not OK, and what to do; `why` is what hinders the
    nodes."""
    assert isinstance(told.asked, Get | Put | Delete)
    key, reads = told.asked.key, isinstance(told.asked, Get)
    said = f"{(told.told.message or told.reason).rstrip('.')}{why and f' ({why})'}"
    if told.reason == NO_KEY:
        return no_key(key)
    if told.outcome is Outcome.FAILED:
        way_out = "--consistency default needs no leader" if reads else "try again once a node leads"
        return f"{told.node} refused: {said}; nothing was {'read' if reads else 'changed'}, {way_out}"
    if reads:
        return f"{told.node} gave no answer: {said}; nothing was read, ask another with --node"
    way_out = f"look with: python -m bench get {key} --consistency consistent"
    return f"{told.node} did not say: {said}; {_question(told.asked)} may or may not have happened, {way_out}"


def links(names: Iterable[str]) -> str:
    """Those of both directions as one: ``n1<->n2, n3->n1``. Names of nodes stay as they are."""
    left = dict.fromkeys(names)
    told = []
    for name in tuple(left):
        source, arrow, target = name.partition("->")
        back = f"{target}->{source}"
        if name not in left:
            continue
        del left[name]
        told.append(f"{source}<->{target}" if arrow and back in left else name)
        left.pop(back, None)
    return ", ".join(told)


def _put(item: Item) -> str:
    return f"put {item.key} = {short(item.value or '')}{_if_at(item.expected_index)}"


def _if_at(expected_index: int | None) -> str:
    return "" if expected_index is None else f" if at {expected_index}"


def short(value: str) -> str:
    return value if len(value) <= LONG else f"{value[:LONG]}... ({len(value)} characters)"


def planned(done: AnyFault) -> str:
    """When it begins, and what it is."""
    return f"at {done.at_s:g} s {fault(done)}"


def fault(done: AnyFault) -> str:
    lasts = f" for {done.for_s:g} s" if done.for_s else ""
    return f"{_fault(done)}{lasts}"


def _fault(done: AnyFault) -> str:
    match done:
        case Crash(node=node, torn=torn):
            return f"{whom(node)} is killed{' in its next save, which is torn,' if torn else ''}"
        case Pause(node=node):
            return f"{whom(node)} is stopped"
        case SlowDisk(node=node, latency_ms=latency_ms):
            return f"each save of {whom(node)} takes {latency_ms} ms longer"
        case FullDisk(node=node):
            return f"the disk of {whom(node)} is full"
        case Drift(node=node, rate=rate):
            return f"the clock of {whom(node)} runs at {rate:g} of its rate"
        case Cut(mode=mode):
            return f"links {_links(done)} are cut ({mode.value})"
        case Delay(latency_ms=latency_ms, jitter_ms=jitter_ms):
            return f"links {_links(done)} are {latency_ms} ms late, up to {jitter_ms} ms more or less"
        case Limit(rate_kib_s=rate_kib_s):
            return f"links {_links(done)} carry {rate_kib_s} KiB a second"
        case Noise(loss=loss, duplication=duplication, reordering=reordering):
            return f"messages are lost ({loss:g}), doubled ({duplication:g}), overtaken ({reordering:g})"
        case Clients(number=number):
            return f"{number} client{'s write and read' if number > 1 else ' writes and reads'}"
        case Ask(node=node, what=what):
            return f"{whom(node)} is asked: {question(what)}"
        case JoinAstray(node=node):
            return f"the leader is asked: join {whom(node)} under a wrong address"
        case Move(node=node):
            return f"{whom(node)} moves to another address, under which it is to join,"


def _links(on: Cut | Delay | Limit) -> str:
    sources, targets = (", ".join(map(whom, names)) or "everybody else" for names in (on.sources, on.targets))
    return f"between {sources} and {targets}" if on.both_ways else f"from {sources} to {targets}"


class Hindered(NamedTuple):
    """What keeps nodes from electing a leader."""

    paused: Sequence[str] = ()
    down: Sequence[str] = ()
    cut: Sequence[Link] = ()


MENDS = {"paused": "resume", "down": "restart", "cut": "heal"}
"""The command that undoes each."""
HAS_ROLE = {"leader": "leads", "follower": "follows"}


def nobody(role: str, nodes: Sequence[str], why: Hindered) -> str:
    """Why no node has the role, as far as that is known, and what to do."""
    because = hindrances(why)
    mends = [command for field, command in MENDS.items() if getattr(why, field)] or ["try again"]
    way_out = f"{listed(mends, 'or')}, or name one of {', '.join(nodes)}"
    return f"nobody {HAS_ROLE[role]} right now{because and f': {because}'}; {way_out}"


def hindrances(why: Hindered) -> str:
    """A clause for the nodes that are paused or down or cut off alike; each pair of nodes is named once."""
    said: dict[str, list[str]] = {}
    for word, nodes in (("paused", why.paused), ("down", why.down)):
        for node in nodes:
            said.setdefault(node, []).append(word)
    pairs = {frozenset((link.source, link.target)) for link in why.cut}
    while pairs:
        ends = [node for pair in pairs for node in pair]
        most = min(set(ends), key=lambda node: (-ends.count(node), node))
        others = sorted(other for pair in pairs if most in pair for other in pair - {most})
        said.setdefault(most, []).append(f"cut off from {listed(others)}")
        pairs = {pair for pair in pairs if most not in pair}
    alike: dict[str, list[str]] = {}
    for node, words in sorted(said.items()):
        alike.setdefault(listed(words), []).append(node)
    return ", ".join(f"{listed(nodes)} {'are' if nodes[1:] else 'is'} {words}" for words, nodes in alike.items())


def listed(names: Sequence[str], last_by: str = "and") -> str:
    """``n1``, ``n1 and n2``, ``n1, n2 and n3``."""
    *most, last = names
    return f"{', '.join(most)} {last_by} {last}" if most else last


def whom(name: str) -> str:
    """A node, or the role in words."""
    return {"leader": "the leader", "follower": "a follower"}[name] if name in ROLES else name
