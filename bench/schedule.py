"""A fault schedule as a value: what is done to a cluster and when, JSON both ways. Pure.

A fault is an interval, not a pair of actions: a crash says how long the node is down, a cut how long the links are cut.
So any subset of a schedule's faults is a schedule too, which leaves everything healed and started at its end. With
pairs, dropping one restart to shrink a schedule would leave a node down for ever, which is a different failure.

Faults overlap freely. What is in force on a link or a node is the sum of the faults that last there, and each ends
independently of the others (`faults.lasting`): a node that is down, paused and out of disk space starts when all of
that is over.

A *role* (`ROLES`) may stand in the place of a node's name; the player resolves it at the fault's first instant. So a
generator can say "cut off the leader" without knowing which node will lead, and so can a file that knows nothing of
what the nodes agree on.

Every fault is one that a correct cluster survives. So no disk here lies, that is, loses what it has reported as synced:
Raft relies on stable storage (Figure 2, persistent state). Without it an acknowledged write may be lost, and a node
that does nothing wrong may vote twice. A disk may be slow or full, and a save torn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, ClassVar

import msgspec

from bench.operations import Join, Leave, Operating, Transfer
from faults import cuts
from faults.links import CLIENT, Link, Mode

VERSION = 1
ROLES = ("leader", "follower")
MOST_FAULTS = 10_000
MOST_NODES = 9

Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,31}\\Z")]
"""Also names folders."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ScheduleError(ValueError):
    """This is not a schedule; the text says what is wrong with it and where."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="fault", tag=True, forbid_unknown_fields=True):
    """In force from `at_s` to `at_s + for_s`, in seconds from the schedule's beginning."""

    at_s: Seconds
    for_s: Seconds = 0.0

    NAMES: ClassVar[tuple[str, ...]] = ("node",)
    """Which fields name nodes."""
    NEEDS: ClassVar[tuple[str, ...]] = ()
    """What a cluster must be able to do (`bench.cluster.NEEDS`)."""

    @property
    def needs(self) -> tuple[str, ...]:
        return self.NEEDS

    def named(self) -> Iterator[str]:
        """Every name in it, as written."""
        for field in self.NAMES:
            value = getattr(self, field)
            yield from value if isinstance(value, tuple) else [value]


class Crash(Fault, frozen=True, kw_only=True):
    """Killed, and started again on what it had synced. A crash at the schedule's beginning delays the node's first
    start."""

    node: Name
    torn: bool = False
    """Killed in the middle of its next save instead, if there is one by then. Some of that save's entries remain, but
    not the term and vote saved with them. Nobody has been told of any of it, so a correct node recovers from this too.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        return ("torn_saves",) if self.torn else ()


class Pause(Fault, frozen=True, kw_only=True):
    node: Name


class SlowDisk(Fault, frozen=True, kw_only=True):
    """Every save takes this much longer."""

    node: Name
    latency_ms: Milliseconds

    NEEDS: ClassVar[tuple[str, ...]] = ("slow_disk",)


class FullDisk(Fault, frozen=True, kw_only=True):
    """No save succeeds. The node stops at the first one it tries, and is started when there is room again."""

    node: Name

    NEEDS: ClassVar[tuple[str, ...]] = ("full_disk",)


class Drift(Fault, frozen=True, kw_only=True):
    """The node's clock runs at this rate; at 0 it stands still, as in a suspended machine."""

    node: Name
    rate: Annotated[float, msgspec.Meta(ge=0, le=100)]

    NEEDS: ClassVar[tuple[str, ...]] = ("clocks",)


class _OnLinks(Fault, frozen=True, kw_only=True):
    """On all links from `sources` to `targets`, and back if `both_ways`. An empty side means all other nodes."""

    sources: tuple[Name, ...] = ()
    targets: tuple[Name, ...] = ()
    both_ways: bool = True

    NAMES: ClassVar[tuple[str, ...]] = ("sources", "targets")

    def links(self, nodes: Collection[str], resolve: Callable[[str], str]) -> frozenset[Link]:
        """The links it means among `nodes`, once `resolve` has turned roles into names."""
        sources, targets = ({resolve(name) for name in side} for side in (self.sources, self.targets))
        sources, targets = sources or set(nodes) - targets, targets or set(nodes) - sources
        links = cuts.one_way(sources, targets - sources)
        return links | {Link(link.target, link.source) for link in links} if self.both_ways else links


class Cut(_OnLinks, frozen=True, kw_only=True):
    mode: Mode = Mode.BLACKHOLE


class Delay(_OnLinks, frozen=True, kw_only=True):
    latency_ms: Milliseconds
    jitter_ms: Milliseconds = 0


class Limit(_OnLinks, frozen=True, kw_only=True):
    """No more than `rate_kib_s` KiB a second."""

    rate_kib_s: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)]


class Noise(Fault, frozen=True, kw_only=True):
    """Each message on any link between nodes is lost, duplicated or reordered with these probabilities. Client requests
    are duplicated too, and the duplicate may arrive after the client's next request."""

    loss: Probability = 0.0
    duplication: Probability = 0.0
    reordering: Probability = 0.0

    NAMES: ClassVar[tuple[str, ...]] = ()
    NEEDS: ClassVar[tuple[str, ...]] = ("noise",)


class Clients(Fault, frozen=True, kw_only=True):
    """This many clients at work."""

    number: Annotated[int, msgspec.Meta(ge=1, le=64)]

    NAMES: ClassVar[tuple[str, ...]] = ()


class Ask(Fault, frozen=True, kw_only=True):
    """An operator asks `node` for this at once, and again until it is done or `for_s` is over."""

    node: Name
    what: Operating

    def named(self) -> Iterator[str]:
        yield self.node
        match self.what:
            case Join(node=name) | Leave(node=name) | Transfer(to=name) if name:
                yield name

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.what.NEED,)


class JoinAstray(Fault, frozen=True, kw_only=True):
    """The leader is asked to let the node join at an address where no node lives, until that is done or `for_s` is
    over. After `for_s` that address leads to the node."""

    node: Name
    NEEDS: ClassVar[tuple[str, ...]] = ("join", "moves")


class Move(Fault, frozen=True, kw_only=True):
    """The node is stopped, comes back at another address, and the leader is asked to let it join there. Its former
    address leads nowhere until `for_s` is over; then it leads to the node too, for any configuration that still has it.
    """

    node: Name
    NEEDS: ClassVar[tuple[str, ...]] = ("join", "moves")


AnyFault = Crash | Pause | SlowDisk | FullDisk | Drift | Cut | Delay | Limit | Noise | Clients | Ask | JoinAstray | Move


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults in the order of their beginnings. Raises ScheduleError for what makes no sense."""

    nodes: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MOST_NODES)]
    members: tuple[Name, ...]
    """The members of the cluster that the first of them founds; the other nodes run, and may be asked to join."""
    length_s: Seconds
    """When every fault is over."""
    faults: Annotated[tuple[AnyFault, ...], msgspec.Meta(max_length=MOST_FAULTS)]
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ScheduleError(f"a schedule of version {self.version}; this program reads version {VERSION}")
        if len(set(self.nodes)) != len(self.nodes) or set(self.nodes) & {*ROLES, CLIENT}:
            raise ScheduleError(
                f"nodes {', '.join(self.nodes)}: each name once, and none of {', '.join(ROLES)}, {CLIENT}"
            )
        if not self.members or not set(self.members) <= set(self.nodes) or len(set(self.members)) < len(self.members):
            raise ScheduleError("members are one node or more, out of nodes, and each once")
        for number, fault in enumerate(self.faults):
            self._check(f"fault {number} ({type(fault).__name__})", fault)

    def _check(self, where: str, fault: AnyFault) -> None:
        unknown = sorted(set(fault.named()) - set(self.nodes) - set(ROLES))
        if unknown:
            raise ScheduleError(f"{where} names {', '.join(unknown)}; there are {', '.join((*self.nodes, *ROLES))}")
        # A microsecond of grace: at_s + for_s is a sum of decimals.
        if fault.at_s + fault.for_s > self.length_s + 1e-6:
            raise ScheduleError(f"{where} lasts until {fault.at_s + fault.for_s:g} s, the schedule {self.length_s:g} s")
        if isinstance(fault, Ask) and isinstance(fault.what, Join) and fault.what.address:
            raise ScheduleError(f"{where} says where {fault.what.node} lives; write JoinAstray for where it does not")
        if isinstance(fault, _OnLinks):
            if not fault.sources and not fault.targets:
                raise ScheduleError(f"{where} needs sources or targets")
            if set(fault.sources) & set(fault.targets):
                raise ScheduleError(f"{where} has a node on both sides")

    def to_json(self) -> bytes:
        """One fault per line, for people and for diffs."""
        lines = b",\n".join(b"  " + msgspec.json.encode(fault) for fault in self.faults)
        head = {key: value for key, value in msgspec.to_builtins(self).items() if key != "faults"}
        return msgspec.json.encode(head)[:-1] + b', "faults": [\n' + lines + b"\n]}\n"

    @classmethod
    def from_json(cls, data: bytes) -> Schedule:
        """Raises ScheduleError."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ScheduleError(str(error)) from error
