"""What happened in a run, in order and in words: operations, faults and roles on one clock, and what was in force when.

Clients that ask much are told of in sums, between one thing that happens and the next; a client of the story itself is
told in full. What the bench does when the story is over, as to kill the nodes, is left out. Pure.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from bench import words
from bench.case import Settings
from bench.evidence import ERROR, SAID, STORY_OVER, Evidence, Record
from bench.operations import Operation
from bench.schedule import AnyFault, Clients, Fault, FullDisk, JoinAstray, Move, SlowDisk
from faults.links import BYPASS, KEPT, RESTARTED, Kind, LinkState

FEW = 4
"""A client that asks no more than this is told of in full."""
SHOWN = (Clients, FullDisk, Move, SlowDisk)
"""Faults of a case of which no other record tells."""


class Happening(NamedTuple):
    at_s: float
    who: str
    what: str
    operation: Operation | None = None
    """If it is one of a busy client."""


def lines(evidence: Evidence) -> list[str]:
    """Everything up to the end of the story, a line each."""
    end_s = next((record["at_s"] for record in evidence.timeline if record["event"] == STORY_OVER), None)
    found = [one for one in _happenings(evidence) if end_s is None or one.at_s <= end_s]
    return [f"{one.at_s:9.4f}  {one.who:9} {one.what}" for one in _in_sums(sorted(found, key=lambda one: one.at_s))]


def line(operation: Operation) -> str:
    """One operation, as `lines` has it."""
    return f"{operation.invoked_s:9.4f}  {_client(operation):9} {words.operation(operation)}"


def _happenings(evidence: Evidence) -> Iterator[Happening]:
    for record in evidence.timeline:
        if said := _of_the_bench(record):
            yield Happening(record["at_s"], "bench", said)
    for node, trace in evidence.traces.items():
        for record in trace:
            if record["event"] in OF_A_NODE:
                yield Happening(record["at_s"], node, OF_A_NODE[record["event"]](record))
    asked = Counter(operation.client for operation in evidence.history)
    for operation in evidence.history:
        busy = operation if asked[operation.client] > FEW else None
        yield Happening(operation.invoked_s, _client(operation), words.operation(operation), busy)


def _client(operation: Operation) -> str:
    return f"client {operation.client}"


def _in_sums(found: Iterable[Happening]) -> Iterator[Happening]:
    """Operations of busy clients that follow one another, as one."""
    together: list[Happening] = []
    for one in found:
        if one.operation is not None:
            together.append(one)
            continue
        yield from _sum(together)
        together = []
        yield one
    yield from _sum(together)


def _sum(together: list[Happening]) -> Iterator[Happening]:
    if len(together) <= FEW:
        yield from together
        return
    operations = [one.operation for one in together if one.operation is not None]
    came_of_it = Counter(words.outcome(operation.told) for operation in operations)
    told = ", ".join(f"{count} {outcome}" for outcome, count in came_of_it.most_common())
    until_s = max(operation.invoked_s for operation in operations)
    yield Happening(together[0].at_s, "clients", f"ask {len(operations)} times until {until_s:.4f}: {told}")


# The bench's own records


def _of_the_bench(record: Record) -> str:
    """Empty for a record of which others tell."""
    if record["event"] in ("begins", "over") and (fault := _fault_of(record)) is not None:
        over = "over: " if record["event"] == "over" else ""
        return f"{over}{words.fault(fault)}" if isinstance(fault, SHOWN) else ""
    tell = OF_THE_BENCH.get(record["event"])
    return tell(record) if tell is not None else " ".join([record["event"], *_fields(record)])


def _fault_of(record: Record) -> AnyFault | None:
    """Of a case. In a run that did not end, the record may have been edited since: None."""
    fault: AnyFault | None = record["fault"]
    if not isinstance(fault, Fault):
        fault, written = None, msgspec.to_builtins(fault)
        with contextlib.suppress(msgspec.ValidationError):
            fault = msgspec.convert(written, AnyFault)
    return fault


def _fields(record: Record) -> list[str]:
    return [f"{key}={value}" for key, value in record.items() if key not in ("at_s", "event", "monotonic_s")]


def _links(record: Record) -> str:
    return words.links([name for name in record["links"].split(",") if name])


def _healed(record: Record, does: str = "heals") -> str:
    met = record.get("attempted")
    return f"{does} {_links(record)}{f', which had met {met} messages' if met else ''}"


def _started_again(record: Record) -> str:
    data = {"wipe": " on an empty data folder", "older": " with an older copy of its data"}
    how = "".join(words for field, words in data.items() if record.get(field))
    without = record.get("without")
    return f"starts {record['node']} again{how}{f' without its {without}' if without else ''}"


OF_THE_BENCH: Mapping[str, Callable[[Record], str]] = {
    "kill": lambda record: f"kills {record['node']}{' in the middle of a save' if record.get('torn') else ''}",
    "restart": _started_again,
    "shut_down": lambda record: f"has {record['node']} stop",
    "died": lambda record: f"finds {record['node']} dead, with exit status {record['exit_code']}",
    "pause": lambda record: f"pauses {record['node']}",
    "resume": lambda record: f"lets {record['node']} go on",
    "full_disk": lambda record: f"leaves {record['node']} no room on its disk",
    "failed_save": lambda record: f"has the next save of {record['node']} fail",
    "no_memory": lambda record: f"leaves {record['node']} no more memory",
    "slow_disk": lambda record: f"makes each save of {record['node']} {record['latency_ms']:g} ms longer",
    "clock_rate": lambda record: f"has the clock of {record['node']} run at {record['rate']:g} of its rate",
    "damage_snapshot": lambda record: f"damages the newest snapshot of {record['node']}",
    "move": lambda record: f"moves {record['node']} to {record['address']}",
    "agreed": lambda record: f"sees that {', '.join(record['nodes'])} have applied one log",
    "remark": lambda record: str(record["words"]),
    "heal": _healed,
    KEPT: lambda record: _healed(record, "keeps faulty"),
    "end": lambda record: f"ends the {record['detail']} on {_links(record)}",
    BYPASS: lambda record: f"sees {record['links']} gone past: {record['detail']}",
    RESTARTED: lambda record: f"has to start Toxiproxy again ({record['detail']}): every connection breaks",
    STORY_OVER: lambda _: "",
    SAID: lambda _: "",
    ERROR: lambda _: "meets an error in the story, which ends what was begun",
    Kind.CUT: lambda record: f"cuts {_links(record)} ({record['detail']})",
    Kind.DELAY: lambda record: f"delays {_links(record)} by {record['detail']}",
    Kind.LIMIT: lambda record: f"limits {_links(record)} to {record['detail']}",
    Kind.NOISE: lambda record: f"disturbs {_links(record)}: {record['detail']}",
}


# The nodes' own records


def _role(record: Record) -> str:
    cause, by = record.get("cause"), record.get("by")
    why = f" ({cause}{f', from {by}' if by else ''})" if cause else ""
    return f"{record['role']} in term {record['term']}{why}"


OF_A_NODE: Mapping[str, Callable[[Record], str]] = {
    "start": lambda record: f"starts with a log up to {record['last_index']}",
    "stop": lambda _: "stops",
    "role": _role,
}


# In force


def in_force(evidence: Evidence, at_s: float) -> list[str]:
    """The faults that were in force on links and nodes at that instant, a line each, with since when; if an error came
    up then, those that it found."""
    return in_force_within(evidence, at_s, at_s)


def in_force_within(evidence: Evidence, since_s: float, until_s: float) -> list[str]:
    """The same of a span: those that were in force at any instant of it."""
    standing: dict[tuple[str, str], _Standing] = {}
    ended: list[_Standing] = []
    for change in sorted(changes(evidence), key=lambda change: change.at_s):
        if change.at_s > until_s or (change.kind == ERROR and change.at_s == until_s):
            break
        for key in [key for key in standing if key[0] == change.whom and change.kind in (key[1], ALL)]:
            over = standing.pop(key)
            if change.at_s > since_s:
                ended.append(over)
        if change.what:
            standing[change.whom, change.kind] = _Standing(change.at_s, change.what, change.whom)
    return [f"since {began_s:.4f} {what}" for began_s, what in _by_what([*standing.values(), *ended])]


ALL = "all"
"""In place of a kind of fault."""
DOWN = "down"


class Change(NamedTuple):
    """A fault began or ended."""

    at_s: float
    whom: str
    """The node or link; where a case names a role, the role in words."""
    kind: str
    """Which fault, of those that last there."""
    what: str
    """What it does from then on; nothing ends it."""
    late_s: float = 0.0
    """By how much it makes late what it does not stop."""


class _Standing(NamedTuple):
    began_s: float
    what: str
    whom: str


def changes(evidence: Evidence) -> Iterator[Change]:
    """Every fault that began or ended on a node or link, in no order. A node that has a trace is down until that says
    that it has started."""
    for record in evidence.timeline:
        at_s, event = record["at_s"], record["event"]
        if event == ERROR:
            yield Change(at_s, "", ERROR, "")
        elif event in ("begins", "over"):
            yield from _of_a_case(record)
        elif "links" in record and event not in (BYPASS, RESTARTED):
            for link in filter(None, record["links"].split(",")):
                yield from (Change(at_s, link, *how) for how in _on_a_link(record))
        elif event == "restart":
            over = OVER_BY_RESTART if evidence.traces.get(record["node"]) else (*OVER_BY_RESTART, DOWN)
            yield from (Change(at_s, record["node"], kind, "") for kind in over)
        elif event in ON_A_NODE:
            kind, how = ON_A_NODE[event]
            yield Change(at_s, record["node"], kind, *how(record, evidence.settings))
    for node, trace in evidence.traces.items():
        yield from (Change(record["at_s"], node, DOWN, "") for record in trace if record["event"] == "start")


def _on_a_link(record: Record) -> list[tuple[str, str, float]]:
    match record["event"]:
        case "heal":
            return [(ALL, "", 0.0)]
        case event if event == KEPT:
            return []
        case "end":
            return [(kind, "", 0.0) for kind in record["detail"].split(", ")]
        case event:
            late_s = LinkState.latest_s(record["detail"]) if event == Kind.DELAY else 0.0
            return [(event, IN_FORCE[event].format(record["detail"]), late_s)]


def _of_a_case(record: Record) -> Iterator[Change]:
    """Of the faults that no other record tells of: who is meant by a role is in no record."""
    fault = _fault_of(record)
    if fault is None or type(fault) not in OF_A_CASE:
        return
    assert isinstance(fault, FullDisk | SlowDisk | Move | JoinAstray)
    what, late_s = OF_A_CASE[type(fault)](fault)
    yield Change(
        record["at_s"], words.whom(fault.node), repr(fault), what if record["event"] == "begins" else "", late_s
    )


OF_A_CASE: Mapping[type[AnyFault], Callable[[Any], tuple[str, float]]] = {
    FullDisk: lambda _: ("has no room on its disk", 0.0),
    SlowDisk: lambda fault: (f"saves {fault.latency_ms} ms late", fault.latency_ms / 1000),
    Move: lambda _: ("moves to another address", 0.0),
    JoinAstray: lambda _: ("is said to have another address", 0.0),
}
IN_FORCE = {
    Kind.CUT: "cut ({})",
    Kind.DELAY: "delayed by {}",
    Kind.LIMIT: "limited to {}",
    Kind.NOISE: "disturbed: {}",
}
OVER_BY_RESTART = ("pause", "full disk", "failed save", "memory")
"""What ends with the process that it was done to."""
ON_A_NODE: Mapping[str, tuple[str, Callable[[Record, Settings], tuple[str, float]]]] = {
    "kill": (DOWN, lambda *_: ("is down", 0.0)),
    "died": (DOWN, lambda *_: ("is down", 0.0)),
    "shut_down": (DOWN, lambda *_: ("is down", 0.0)),
    "pause": ("pause", lambda *_: ("is paused", 0.0)),
    "resume": ("pause", lambda *_: ("", 0.0)),
    "full_disk": ("full disk", lambda *_: ("has no room on its disk", 0.0)),
    "failed_save": ("failed save", lambda *_: ("fails in its next save", 0.0)),
    "no_memory": ("memory", lambda *_: ("gets no more memory", 0.0)),
    "slow_disk": ("slow disk", lambda record, _: _slow(record["latency_ms"])),
    "clock_rate": ("clock", lambda record, settings: (_off(record["rate"] - 1, settings), 0.0)),
}


def _slow(latency_ms: float) -> tuple[str, float]:
    return (f"saves {latency_ms:g} ms late", latency_ms / 1000) if latency_ms else ("", 0.0)


def _off(by: float, settings: Settings) -> str:
    """Empty of a clock that is no further off than clocks may be anyway."""
    return f"has a clock off by {by:+.0%}" if abs(by) > settings.clock_spread else ""


def _by_what(standing: Iterable[_Standing]) -> Iterator[tuple[float, str]]:
    """Links that became faulty in the same way at once are told together, and nodes one by one."""
    alike: dict[tuple[float, str], list[str]] = {}
    for began_s, what, whom in standing:
        alike.setdefault((began_s, what), []).append(whom)
    for (began_s, what), names in sorted(alike.items()):
        if "->" in names[0]:
            yield began_s, f"{words.links(names)} {'are' if len(names) > 1 else 'is'} {what}"
        else:
            yield from ((began_s, f"{name} {what}") for name in names)
