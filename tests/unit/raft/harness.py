"""Raft nodes by name, a list of messages under way, and a clock that moves when told."""

from __future__ import annotations

import random
from collections.abc import Iterable

from node.raft import Configuration, Entry, FlowLimits, HardState, Log, Raft, Role, Timing
from node.raft.messages import AnyMessage
from node.raft.transitions import RoleChanged

TIMING = Timing(heartbeat_timeout_s=1.0, election_timeout_s=1.0, leader_lease_timeout_s=0.5)


class Network:
    """Nodes n1..nN that were told of one another. What a node saved is what it restarts with."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self.now = 10.0
        self.names = [f"n{number}" for number in range(1, size + 1)]
        self.in_flight: list[AnyMessage] = []
        self.cut: set[tuple[str, str]] = set()
        self.hard_states = {name: HardState() for name in self.names}
        self.logs: dict[str, list[Entry]] = {name: [] for name in self.names}
        self.applied: dict[str, list[Entry]] = {name: [] for name in self.names}
        self.leaders_of_term: dict[int, set[str]] = {}
        self._random = random.Random(seed)
        self.nodes = {name: self._new(name) for name in self.names}

    def _new(self, name: str) -> Raft:
        return Raft(
            name,
            log=Log(self.logs[name]),
            hard_state=self.hard_states[name],
            timing=TIMING,
            limits=FlowLimits(),
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
            if effects.hard_state is not None:
                self.hard_states[name] = effects.hard_state
            if effects.entries:
                self.logs[name] = [e for e in self.logs[name] if e.index < effects.entries[0].index]
                self.logs[name] += effects.entries
            self.applied[name] += effects.committed
            self.in_flight += [m for m in effects.messages if (m.sender, m.recipient) not in self.cut]
            for change in effects.transitions:
                if isinstance(change, RoleChanged) and change.role is Role.LEADER:
                    self.leaders_of_term.setdefault(change.term, set()).add(name)

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
        self.nodes[name] = self._new(name)
        self.applied[name] = []
        return self.nodes[name]

    def leader(self) -> Raft:
        (found,) = [node for node in self.nodes.values() if node.role is Role.LEADER and self.now < node.lease_until_s]
        return found
