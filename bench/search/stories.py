"""Random schedules: a few short stories of what goes wrong, laid over one another.

Most stories aim at the leader, or begin when a leader has just fallen, because that is where consensus goes wrong:
uniform faults mostly hit nodes that do not matter.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bench.operations import Join, Leave, TakeSnapshot, Transfer
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
    Schedule,
    ScheduleError,
    SlowDisk,
)
from faults.links import Mode

LONG_S = 20.0
"""A schedule of this length leaves a fault in force for longer than a majority may be without a leader."""

CROWDED_S = 60.0
"""A schedule of this length, or a longer one, has as many stories in each second as a short one."""
USUAL_S = 9.0
"""How long a schedule is if nobody says so."""


def generate(rng: random.Random, nodes: int, *, length_s: float = USUAL_S) -> Schedule:
    """A hostile schedule for n1..nN: a few short stories laid over one another, everything over at `length_s`.

    The same state of `rng` gives the same schedule. A long schedule (`LONG_S`) is a calm one, whose leader hears nobody
    for most of it: that the others are owed a new leader shows only where nothing else keeps them from electing one.
    One that is longer still (`CROWDED_S`) is for clusters that shall have no rest.
    """
    if nodes < 2:
        raise ScheduleError("a schedule of faults between nodes needs two nodes at least")
    names = tuple(f"n{number}" for number in range(1, nodes + 1))
    founders = nodes if nodes < 4 or rng.random() < 0.5 else rng.randint(nodes // 2 + 1, nodes)
    teller = _Teller(rng, names, length_s)
    faults: list[AnyFault] = [Clients(at_s=0.0, for_s=length_s, number=rng.randint(1, 4))]
    if rng.random() < 0.25:
        faults += _beginning(teller)
    is_calm = LONG_S <= length_s < CROWDED_S
    if is_calm:
        faults += _long_deafness(teller, round(rng.uniform(0.3, length_s / 5), 3))
    many = rng.randint(1, 3) if is_calm else rng.randint(4, 10)
    if length_s >= CROWDED_S:
        many = round(many * length_s / USUAL_S)
    for story in rng.choices([s for s, _ in _STORIES], [w for _, w in _STORIES], k=many):
        faults += story(teller, round(rng.uniform(0.3, length_s * 0.8), 3))
    faults += [
        Ask(**teller.span(rng.uniform(0.3, 3), 3, 5), node="leader", what=Join(name)) for name in names[founders:]
    ]
    faults.sort(key=lambda fault: fault.at_s)
    return Schedule(nodes=names, members=names[:founders], length_s=length_s, faults=tuple(faults))


class _Teller:
    """Random choices in a schedule's terms. Times are whole milliseconds."""

    def __init__(self, rng: random.Random, nodes: tuple[str, ...], length_s: float) -> None:
        self.rng = rng
        self.nodes = nodes
        self.length_s = length_s

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def span(self, at_s: float, least_s: float, most_s: float) -> dict[str, Any]:
        """A beginning and a length of `least_s` to `most_s`, cut short by the schedule's end."""
        at_s = round(min(at_s, self.length_s), 3)
        return {"at_s": at_s, "for_s": round(min(self.rng.uniform(least_s, most_s), self.length_s - at_s), 3)}

    def victim(self) -> str:
        return self.rng.choice((*ROLES, "leader", self.rng.choice(self.nodes)))

    def some(self, count: int) -> tuple[str, ...]:
        return tuple(self.rng.sample(self.nodes, count))

    def mode(self) -> Mode:
        return self.rng.choice(tuple(Mode))


def _beginning(tell: _Teller) -> list[AnyFault]:
    """Nodes start one after the other, and something happens to the founder before the others know of the cluster."""
    starts_s = {node: round(tell.rng.choice((0.0, tell.rng.uniform(0, 1))), 3) for node in tell.nodes}
    told: list[AnyFault] = [Crash(at_s=0.0, for_s=start_s, node=node) for node, start_s in starts_s.items() if start_s]
    founder = tell.nodes[0]
    soon_s = starts_s[founder] + tell.rng.choice((0.0, tell.rng.uniform(0, 0.01), tell.rng.uniform(0, 0.2)))
    happening: tuple[list[AnyFault], ...] = (
        [Crash(**tell.span(soon_s, 0.05, 2), node=founder)],
        [Crash(**tell.span(0.0, 1.5, 3), node=founder, torn=True)],
        [Cut(**tell.span(soon_s, 0.2, 3), sources=(founder,), both_ways=tell.chance(0.7), mode=tell.mode())],
        [Clients(**tell.span(0.0, 1, 2), number=8), Ask(**tell.span(soon_s, 1, 2), node="leader", what=Leave(founder))],
        [
            Clients(**tell.span(0.0, 1, 2), number=8),
            Ask(at_s=round(soon_s, 3), node="leader", what=Transfer("follower")),
        ],
    )
    return told + tell.rng.choice(happening)


def _isolation(tell: _Teller, at_s: float) -> list[AnyFault]:
    """One node cut off, in both directions or in one: then it hears and is not heard, or the reverse."""
    sides: dict[str, Any] = tell.rng.choice(
        (
            {"sources": (tell.victim(),)},
            {"sources": (tell.victim(),), "both_ways": False},
            {"targets": (tell.victim(),), "both_ways": False},
        )
    )
    return [Cut(**tell.span(at_s, 0.2, 4), **sides, mode=tell.mode())]


def _minority(tell: _Teller, at_s: float) -> list[AnyFault]:
    """The leader is mostly left with a minority: what it appends now reaches some and is committed by nobody."""
    far = tell.some(len(tell.nodes) // 2 + 1)
    return [Cut(**tell.span(at_s, 0.2, 3), sources=("leader",), targets=far, mode=tell.mode())]


def _split(tell: _Teller, at_s: float) -> list[AnyFault]:
    size = tell.rng.randint(1, len(tell.nodes) - 1)
    return [Cut(**tell.span(at_s, 0.2, 4), sources=tell.some(size), mode=tell.mode())]


def _ragged(tell: _Teller, at_s: float) -> list[AnyFault]:
    """Single links down: bridges, chains and rings, where no two nodes see the same cluster."""
    pairs = [tell.some(2) for _ in range(tell.rng.randint(2, len(tell.nodes) * 2))]
    both_ways = tell.chance(0.5)
    span, mode = tell.span(at_s, 0.3, 4), tell.mode()
    return [Cut(**span, sources=(a,), targets=(b,), both_ways=both_ways, mode=mode) for a, b in dict.fromkeys(pairs)]


def _crash(tell: _Teller, at_s: float) -> list[AnyFault]:
    return [Crash(**tell.span(at_s, 0.0, 3), node=tell.victim(), torn=tell.chance(0.3))]


def _power_failure(tell: _Teller, at_s: float) -> list[AnyFault]:
    """Several nodes crash at one instant, or all."""
    fallen = tell.some(tell.rng.randint(2, len(tell.nodes)))
    return [Crash(**tell.span(at_s, 0.0, 1), node=node, torn=tell.chance(0.3)) for node in fallen]


def _succession(tell: _Teller, at_s: float) -> list[AnyFault]:
    """Leader after leader falls or is cut off, each soon after its election, and the first comes back."""
    told: list[AnyFault] = []
    for _ in range(tell.rng.randint(2, 4)):
        span = tell.span(at_s, 0.05, 3)
        if tell.chance(0.5):
            told.append(Crash(**span, node="leader"))
        else:
            told.append(Cut(**span, sources=("leader",), both_ways=tell.chance(0.7), mode=tell.mode()))
        at_s += tell.rng.uniform(0.8, 2.0)
    return told


def _amnesia(tell: _Teller, at_s: float) -> list[AnyFault]:
    """The leader is cut off, and in the election that follows voters crash and are back at once."""
    told: list[AnyFault] = [Cut(**tell.span(at_s, 2, 4), sources=("leader",), mode=tell.mode())]
    for node in tell.some(min(3, len(tell.nodes))):
        told.append(Crash(**tell.span(at_s + tell.rng.uniform(0.9, 2.5), 0.0, 0.05), node=node))
    return told


def _late_votes(tell: _Teller, at_s: float) -> list[AnyFault]:
    """The leader crashes, and the messages of others are about as late as an election lasts: votes arrive when the next
    candidacy has begun."""
    latency_ms = tell.rng.choice((400, 800, 1200))
    late = Delay(
        **tell.span(at_s, 2.5, 5),
        sources=tell.some(min(3, len(tell.nodes) - 1)),
        latency_ms=latency_ms,
        jitter_ms=latency_ms,
    )
    return [late, Crash(**tell.span(at_s + 0.1, 2, 4), node="leader")]


def _second_reign(tell: _Teller, at_s: float) -> list[AnyFault]:
    """A follower answers a leader that no other node hears. The answer arrives in that leader's next reign, when the
    follower still has the entries that another leader's have replaced everywhere else. Then those fall who have what is
    written next."""
    leader, follower, *others = tell.some(len(tell.nodes))
    if not others:
        return []
    late: dict[str, Any] = {"sources": (follower,), "targets": (leader,), "both_ways": False}
    again_s = at_s + tell.rng.uniform(4.0, 4.4)
    return [
        # So many, and no longer, so that the other leader has fewer entries than this one had.
        Clients(**tell.span(at_s, 0.9, 1.1), number=40),
        *(Ask(**tell.span(at_s + after_s, 0, 0), node="leader", what=Transfer(leader)) for after_s in (0.1, 2.6, 3.0)),
        Delay(**tell.span(at_s + 0.5, 4.5, 5.5), **late, latency_ms=3000, jitter_ms=500),
        Cut(**tell.span(at_s + 0.6, 1.2, 1.6), sources=(leader,), targets=tuple(others)),
        Cut(**tell.span(at_s + 0.6, 4, 5), sources=(follower,), targets=tuple(others)),
        Cut(**tell.span(at_s + 2, 2.6, 3.6), sources=(leader,), targets=(follower,), both_ways=False),
        Clients(**tell.span(again_s, 0.5, 0.6), number=8),
        Cut(**tell.span(again_s, 0.5, 0.6), sources=(leader,), targets=tuple(others[1:] or others)),
        *(Crash(**tell.span(again_s + 0.6, 1.5, 2.5), node=node) for node in (leader, *others[: len(others) - 2])),
    ]


def _freeze(tell: _Teller, at_s: float) -> list[AnyFault]:
    return [Pause(**tell.span(at_s, 0.1, 3), node=tell.victim())]


def _usurper(tell: _Teller, at_s: float) -> list[AnyFault]:
    """The leader appends much that no other node gets, and comes back when its successor has just fallen."""
    span = tell.span(at_s, 1.3, 3)
    back_s = span["at_s"] + span["for_s"] - tell.rng.uniform(0, 0.1)
    return [
        Clients(**tell.span(at_s - 0.2, 0.5, 1), number=8),
        Cut(**span, sources=("leader",), mode=tell.mode()),
        Crash(**tell.span(back_s, 1, 3), node="leader"),
    ]


def _sleeper(tell: _Teller, at_s: float) -> list[AnyFault]:
    """The leader is paused, and wakes to what it was sent before, having missed all that happened since. Among it is
    what some clients asked of it after others had found its successor."""
    span = tell.span(at_s, 1.2, 3.5)
    deaf = tell.span(at_s + tell.rng.uniform(0.01, 0.5), span["for_s"], span["for_s"] + 1)
    return [
        Pause(**span, node="leader"),
        Cut(**deaf, targets=("leader",), both_ways=False, mode=tell.mode()),
        Clients(**tell.span(span["at_s"] + span["for_s"] / 2, 0.5, 1.5), number=8),
    ]


def _long_deafness(tell: _Teller, at_s: float) -> list[AnyFault]:
    """For longer than any election lasts, the leader is heard but hears nobody."""
    return [Cut(**tell.span(at_s, 11, 16), targets=("leader",), both_ways=False, mode=tell.mode())]


def _noise(tell: _Teller, at_s: float) -> list[AnyFault]:
    levels = (0.0, 0.02, 0.1, 0.3)
    loss, duplication, reordering = (tell.rng.choice(levels) for _ in range(3))
    return [Noise(**tell.span(at_s, 1, 6), loss=loss, duplication=duplication, reordering=reordering)]


def _delay(tell: _Teller, at_s: float) -> list[AnyFault]:
    latency_ms = tell.rng.choice((5, 50, 200, 700, 1500))
    side: dict[str, Any] = {tell.rng.choice(("sources", "targets")): (tell.victim(),)}
    span = tell.span(at_s, 0.3, 4)
    return [Delay(**span, **side, both_ways=tell.chance(0.5), latency_ms=latency_ms, jitter_ms=latency_ms // 2)]


def _limit(tell: _Teller, at_s: float) -> list[AnyFault]:
    """Too little bandwidth for what is sent from one node, or to it; half the time while many clients write."""
    side: dict[str, Any] = {tell.rng.choice(("sources", "targets")): (tell.victim(),)}
    span, rate_kib_s = tell.span(at_s, 0.5, 5), tell.rng.choice((1, 4, 16, 64))
    told: list[AnyFault] = [Limit(**span, **side, both_ways=tell.chance(0.3), rate_kib_s=rate_kib_s)]
    if tell.chance(0.5):
        told.append(Clients(**tell.span(at_s, 0.5, 2), number=6))
    return told


def _slow_disk(tell: _Teller, at_s: float) -> list[AnyFault]:
    """A node is slow to save, and sometimes crashes before it has saved: what it said before the save is then not
    true."""
    span, node = tell.span(at_s, 0.5, 4), tell.victim()
    told: list[AnyFault] = [SlowDisk(**span, node=node, latency_ms=tell.rng.choice((5, 30, 150, 400)))]
    if tell.chance(0.6):
        crash = tell.span(span["at_s"] + span["for_s"] * tell.rng.random(), 0.0, 1)
        told.append(Crash(**crash, node=node, torn=tell.chance(0.5)))
    return told


def _full_disk(tell: _Teller, at_s: float) -> list[AnyFault]:
    """One full disk, or so many that no majority is left."""
    victims = (tell.victim(),) if tell.chance(0.7) else tell.some(len(tell.nodes) // 2 + 1)
    return [FullDisk(**tell.span(at_s, 0.2, 3), node=node) for node in victims]


def _drift(tell: _Teller, at_s: float) -> list[AnyFault]:
    return [Drift(**tell.span(at_s, 1, 9), node=tell.victim(), rate=round(tell.rng.uniform(0.9, 1.1), 3))]


def _change(tell: _Teller, at_s: float) -> list[AnyFault]:
    """A change of membership, half the time with a cut or a crash in the middle of it."""
    node = tell.rng.choice(tell.nodes)
    told: list[AnyFault] = [Ask(**tell.span(at_s, 2, 4), node="leader", what=Leave(tell.rng.choice((node, "leader"))))]
    if tell.chance(0.7):
        told.append(Ask(**tell.span(at_s + tell.rng.uniform(0, 2), 2, 4), node="leader", what=Join(node)))
    if tell.chance(0.3):
        told.append(Move(**tell.span(at_s, 1, 3), node=tell.victim()))
    if tell.chance(0.5):
        told += tell.rng.choice((_minority, _crash, _isolation))(tell, at_s + tell.rng.uniform(-0.05, 0.1))
    return told


def _move(tell: _Teller, at_s: float) -> list[AnyFault]:
    """A node moves to another address, half the time while something else goes wrong."""
    told: list[AnyFault] = [Move(**tell.span(at_s, 1, 4), node=tell.victim())]
    if tell.chance(0.5):
        told += tell.rng.choice((_minority, _crash, _isolation))(tell, at_s + tell.rng.uniform(0, 1))
    return told


def _astray(tell: _Teller, at_s: float) -> list[AnyFault]:
    """A node joins under a wrong address, and then, before or after that is given up, under its own."""
    node, wrong = tell.victim(), tell.span(at_s, 0.2, 3)
    right = tell.span(at_s + tell.rng.uniform(0.1, 2), 1, 4)
    return [JoinAstray(**wrong, node=node), Ask(**right, node="leader", what=Join(node))]


def _transfer(tell: _Teller, at_s: float) -> list[AnyFault]:
    return [Ask(at_s=at_s, node="leader", what=Transfer(tell.rng.choice(("follower", tell.rng.choice(tell.nodes)))))]


def _late_order(tell: _Teller, at_s: float) -> list[AnyFault]:
    """The node that is to take over hears of it only when another has been elected."""
    leader, node = tell.some(2)
    # A leader takes a millisecond to see that the other has everything.
    late = tell.span(at_s + 0.501, 2, 3)
    latency_ms = tell.rng.choice((1000, 1700, 2400))
    return [
        Ask(**tell.span(at_s, 0, 0), node="leader", what=Transfer(leader)),
        Ask(**tell.span(at_s + 0.5, 0, 0), node="leader", what=Transfer(node)),
        Delay(**late, sources=(leader,), targets=(node,), both_ways=False, latency_ms=latency_ms),
    ]


def _snapshots(tell: _Teller, at_s: float) -> list[AnyFault]:
    """Some take snapshots while one may be cut off, so that it must be sent one; often chunks come twice, or long after
    later ones."""
    told: list[AnyFault] = [Ask(at_s=at_s, node=node, what=TakeSnapshot()) for node in tell.some(2)]
    if tell.chance(0.5):
        told += _isolation(tell, at_s - tell.rng.uniform(0, 0.3))
    if tell.chance(0.5):
        span = tell.span(at_s, 1, 3)
        told += [Noise(**span, duplication=0.5, reordering=0.3), Clients(**span, number=4)]
    return told


_STORIES: tuple[tuple[Callable[[_Teller, float], list[AnyFault]], int], ...] = (
    (_isolation, 5),
    (_minority, 4),
    (_split, 3),
    (_ragged, 3),
    (_crash, 5),
    (_power_failure, 2),
    (_succession, 3),
    (_amnesia, 2),
    (_late_votes, 2),
    (_second_reign, 2),
    (_freeze, 2),
    (_sleeper, 2),
    (_usurper, 3),
    (_noise, 3),
    (_delay, 3),
    (_limit, 3),
    (_slow_disk, 3),
    (_full_disk, 2),
    (_drift, 1),
    (_change, 4),
    (_move, 2),
    (_astray, 2),
    (_transfer, 3),
    (_late_order, 2),
    (_snapshots, 4),
)
"""The stories, and how often each is told."""
