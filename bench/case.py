"""A case: everything that a run depends on, in one file that a person can read and edit. Pure.

    Case = schedule + workload + Plan         what is done, and what clients do meanwhile
    Plan = nodes, settings, seed, system, flaw         what the cluster is made of

`bench.player` plays a case on any cluster. In virtual time the same case is the same run, to the byte; on real
processes it is the same story, as far as a machine can repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple, get_args

import msgspec

from bench.operations import Operating
from bench.schedule import AnyFault, Name, Schedule
from faults.links import Mode

VERSION = 1
LARGEST_BYTES = 4 * 1024 * 1024
"""Of a case file."""

KNOWN = {
    "fault": [kind.__name__ for kind in get_args(AnyFault)],
    "ask": [kind.__name__.lower() for kind in get_args(Operating)],
    "mode": list(Mode),
}
"""What may stand in the fields of these names."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class CaseError(ValueError):
    """This is not a case; the text says what is wrong with it and where."""


class Timings(NamedTuple):
    """A profile's timeouts, in seconds."""

    heartbeat_timeout_s: float
    election_timeout_s: float
    leader_lease_timeout_s: float

    def __str__(self) -> str:
        return "/".join(f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms" for seconds in self)


PROFILES = {
    "default": Timings(1, 1, 0.5),
    "low-latency": Timings(0.5, 1, 0.25),
    "high-latency": Timings(2, 2, 1),
    "tight": Timings(0.1, 0.1, 0.05),
}
"""The usual timings, those for faster and for slower networks, and the shortest with which a quiet machine keeps a
leader."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What nodes and clients are told before they start. Raises CaseError for timings with which none can lead."""

    heartbeat_timeout_s: Seconds = 1.0
    """A follower suspects its leader after this long without contact."""
    election_timeout_s: Seconds = 1.0
    leader_lease_timeout_s: Seconds = 0.5
    commit_timeout_s: Seconds = 0.05

    # How much a leader sends without an answer, and how much a node takes on at once
    entries_per_message: Count = 64
    bytes_per_message: Count = 256 * 1024
    entries_in_flight: Count = 8192
    bytes_in_flight: Count = 1024 * 1024
    entries_applied_at_once: Count = 128
    snapshot_chunk_bytes: Count = 128 * 1024
    snapshot_bytes_in_flight: Count = 512 * 1024
    unanswered_bytes: Count = 1024 * 1024
    """Beyond this much under way on a link, further messages wait; one message may always be under way."""
    waiting_messages: Count = 1024
    """Beyond this many messages waiting for a link, further ones are lost."""

    snapshot_interval_s: Seconds = 120.0
    snapshot_threshold: Count = 8192
    """A snapshot is taken after this many entries."""
    trailing_logs: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 10240
    """How many entries are kept behind a snapshot."""

    client_timeout_s: Seconds = 8.0
    """How long a client waits for an answer."""

    # Only in virtual time: real processes start as fast as they can, and share one clock
    clock_spread: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.02
    """By how much nodes' clocks may run fast or slow."""
    start_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.3
    """The least time from a start to the node's first step; the most is twice that."""

    def __post_init__(self) -> None:
        if not self.election_timeout_s >= self.heartbeat_timeout_s >= self.leader_lease_timeout_s:
            raise CaseError("election_timeout_s >= heartbeat_timeout_s >= leader_lease_timeout_s must hold")
        if self.leader_lease_timeout_s <= self.heartbeat_timeout_s / 10:
            # A leader sends ten heartbeats in a heartbeat timeout: its lease would end before each of them.
            raise CaseError(
                "leader_lease_timeout_s must be more than a tenth of heartbeat_timeout_s, or none stays leader"
            )

    def of_profile(self, name: str) -> Settings:
        """These settings with the timings of one of `PROFILES`."""
        return msgspec.structs.replace(self, **PROFILES[name]._asdict())


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a cluster is made of."""

    nodes: tuple[Name, ...]
    """All of them run."""
    members: tuple[Name, ...]
    """The members of the cluster that the first of them founds; the other nodes may be asked to join."""
    settings: Settings = Settings()
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Decides whatever is left to chance, as far as the world lets us decide it."""
    system: str = "konsul"
    flaw: str | None = None
    """A rule that its nodes break on purpose."""


def plan(
    nodes: int,
    *,
    spare: int = 0,
    seed: int = 0,
    profile: str = "default",
    settings: Settings | None = None,
    system: str = "konsul",
    flaw: str | None = None,
) -> Plan:
    """Nodes n1, n2 and so on: `nodes` members, and `spare` nodes that are not members."""
    names = tuple(f"n{number}" for number in range(1, nodes + spare + 1))
    return Plan(
        nodes=names,
        members=names[:nodes],
        settings=(settings or Settings()).of_profile(profile),
        seed=seed,
        system=system,
        flaw=flaw,
    )


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a run depends on. Raises CaseError."""

    schedule: Schedule
    settings: Settings = Settings()
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    workload: str = "mixed"
    """What each client does (`bench.workload.WORKLOADS`)."""
    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] | None = None
    """How often each client asks; without it, a quarter of a second after each answer."""
    retries: bool = True
    """Whether each question is asked until it is decided; all tries of a write take effect once."""
    system: str = "konsul"
    flaw: str | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise CaseError(f"a case of version {self.version}; this program reads version {VERSION}")

    @property
    def plan(self) -> Plan:
        return Plan(
            nodes=self.schedule.nodes,
            members=self.schedule.members,
            settings=self.settings,
            seed=self.seed,
            system=self.system,
            flaw=self.flaw,
        )

    @property
    def needs(self) -> tuple[str, ...]:
        """What a cluster must be able to do to play this case, each need once."""
        return tuple(dict.fromkeys(need for fault in self.schedule.faults for need in fault.needs))

    def without(self, needs: frozenset[str]) -> Case:
        """This case without the faults that need any of these."""
        kept = tuple(fault for fault in self.schedule.faults if not needs.intersection(fault.needs))
        return msgspec.structs.replace(self, schedule=msgspec.structs.replace(self.schedule, faults=kept))

    def to_json(self) -> bytes:
        """One setting or fault per line, for people and for diffs."""
        return b"".join(self._lines())

    def _lines(self) -> Iterator[bytes]:
        encode, fields = msgspec.json.encode, msgspec.to_builtins(self)
        head = {key: fields[key] for key in ("version", "system", "flaw", "workload", "rate_per_s", "retries", "seed")}
        yield encode(head)[:-1] + b',\n"settings": {\n'
        yield b",\n".join(b"  " + encode(key) + b": " + encode(value) for key, value in fields["settings"].items())
        yield b'\n},\n"schedule": ' + self.schedule.to_json().rstrip() + b"}\n"

    @classmethod
    def from_json(cls, data: bytes) -> Case:
        """Raises CaseError."""
        if len(data) > LARGEST_BYTES:
            raise CaseError(f"it has more than {LARGEST_BYTES} bytes, which is too many for a case")
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `$.")
            place = place.rstrip("`")
            known = KNOWN.get(place.rpartition(".")[2], ()) if what.startswith("Invalid ") else ()
            way_out = f"; there are {', '.join(known)}" if known else ""
            raise CaseError(f"at {place}: {what}{way_out}" if place else what) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CaseError(f"this is no JSON: {error}") from error
        except RecursionError as error:
            raise CaseError("it is nested too deeply for a case") from error
