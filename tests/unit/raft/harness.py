"""Raft nodes by name, a list of messages under way, and a clock that moves when told."""

from __future__ import annotations

import random
from collections.abc import Iterable

from node.raft import Configuration, Effects, Entry, FlowLimits, HardState, Log, Raft, Role, Snapshot, Timing
from node.raft.messages import AnyMessage
from node.raft.transitions import RoleChanged

TIMING = Timing(heartbeat_timeout_s=1.0, election_timeout_s=1.0, leader_lease_timeout_s=0.5)


class Network:
    """Nodes n1..nN that were told of one another. What a node saved is what it restarts with.

    The state machine is the list of applied entries; a snapshot's data is how many there are, which says which ones,
    since `applied_anywhere` has them all.
    """

    def __init__(self, size: int, seed: int = 1, limits: FlowLimits | None = None) -> None:
        self.now = 10.0
        self.names = [f"n{number}" for number in range(1, size + 1)]
        self.in_flight: list[AnyMessage] = []
        self.cut: set[tuple[str, str]] = set()
        self.hard_states = {name: HardState() for name in self.names}
        self.logs: dict[str, list[Entry]] = {name: [] for name in self.names}
        self.snapshots: dict[str, Snapshot | None] = dict.fromkeys(self.names)
        self.applied: dict[str, list[Entry]] = {name: [] for name in self.names}
        self.applied_anywhere: list[Entry] = []
        self.limits = limits or FlowLimits()
        self.leaders_of_term: dict[int, set[str]] = {}
        self._random = random.Random(seed)
        self.nodes = {name: self._new(name) for name in self.names}

    def _new(self, name: str) -> Raft:
        snapshot, entries = self.snapshots[name], self.logs[name]
        base = (0, 0)
        if snapshot is not None:
            self._restore(name, snapshot)
            entries = [entry for entry in entries if entry.index > snapshot.meta.index]
            base = (snapshot.meta.index, snapshot.meta.term)
        return Raft(
            name,
            log=Log(entries, base_index=base[0], base_term=base[1]),
            hard_state=self.hard_states[name],
            snapshot=snapshot,
            timing=TIMING,
            limits=self.limits,
            rng=random.Random(self._random.random()),
            now=self.now,
        )

    def bootstrap(self) -> Raft:
        """Found the cluster on n1 and let it become leader."""
        founder = self.nodes["n1"]
        founder.bootstrap(
            Configuration.first((name, f"127.0.0.1:{7000 + i}") for i, name in enumerate(self.names)), self.now
        )
        self.settle()
        assert founder.role is Role.LEADER
        return founder

    def collect(self, names: Iterable[str] | None = None) -> None:
        """Save, apply and send what follows for these nodes, in the order of the package's rule 1."""
        for name in names or list(self.nodes):
            effects = self.nodes[name].take_effects()
            self.carried_out(name, effects)
            if effects.hard_state is not None:
                self.hard_states[name] = effects.hard_state
            if effects.snapshot is not None:
                self.snapshots[name], self.logs[name] = effects.snapshot, []
                self._restore(name, effects.snapshot)
            if effects.entries:
                self.logs[name] = [e for e in self.logs[name] if e.index < effects.entries[0].index]
                self.logs[name] += effects.entries
            self.applied[name] += effects.committed
            self.applied_anywhere += self.applied[name][len(self.applied_anywhere) :]
            self.in_flight += [m for m in effects.messages if (m.sender, m.recipient) not in self.cut]
            for change in effects.transitions:
                if isinstance(change, RoleChanged) and change.role is Role.LEADER:
                    self.leaders_of_term.setdefault(change.term, set()).add(name)

    def carried_out(self, name: str, effects: Effects) -> None:
        """Called with what followed for a node, for who wants to tell of it."""

    def _restore(self, name: str, snapshot: Snapshot) -> None:
        self.applied[name] = self.applied_anywhere[: int(bytes(snapshot.data))]

    def compact(self, name: str, *, keep: int = 0) -> Snapshot:
        """Take a snapshot of all that `name` has applied, and keep only `keep` of the entries it stands for."""
        node = self.nodes[name]
        snapshot = Snapshot(node.describe_snapshot(), b"%d" % len(self.applied[name]))
        self.snapshots[name] = snapshot
        node.compact(snapshot, first_kept=snapshot.meta.index - keep + 1)
        self.logs[name] = list(node.log.between(node.log.first_index, node.log.last_index))
        return snapshot

    def add(self, name: str) -> Raft:
        """A server without a history, to be joined."""
        self.names.append(name)
        self.hard_states[name], self.logs[name], self.snapshots[name] = HardState(), [], None
        self.applied[name] = []
        self.nodes[name] = self._new(name)
        return self.nodes[name]

    def join(self, name: str) -> None:
        """Have the leader bring `name` in, and wait until it votes."""
        while not self.leader().join(name, f"h:{name}", self.now):
            self.settle()

    def deliver(self, message: AnyMessage) -> None:
        if message.recipient in self.nodes:
            self.nodes[message.recipient].receive(message, self.now)

    def settle(self) -> None:
        """Deliver everything, and what follows from it, without time passing."""
        self.collect()
        while self.in_flight:
            self.deliver(self.in_flight.pop(0))
            self.collect()

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every deadline."""
        until = self.now + seconds
        while True:
            due = min((node.deadline for node in self.nodes.values()), default=until)
            self.now = max(self.now, min(due, until))
            for node in self.nodes.values():
                node.tick(self.now)
            self.settle()
            if due > until:
                return

    def isolate(self, *names: str) -> None:
        others = set(self.names) - set(names)
        self.cut |= {(a, b) for a in names for b in others} | {(b, a) for a in names for b in others}

    def heal(self) -> None:
        self.cut.clear()

    def crash(self, name: str) -> None:
        del self.nodes[name]

    def restart(self, name: str) -> Raft:
        self.applied[name] = []
        self.nodes[name] = self._new(name)
        return self.nodes[name]

    def leader(self) -> Raft:
        (found,) = [node for node in self.nodes.values() if node.role is Role.LEADER and self.now < node.lease_until_s]
        return found
