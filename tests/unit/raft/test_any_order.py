"""Hypothesis delivers, loses and doubles messages in any order it likes, and shrinks what breaks a promise."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.raft import FlowLimits, NotLeaderError, TransferError, TransferInProgressError
from tests.unit.raft.harness import Network
from tests.unit.raft.test_schedules import TINY, check

PLACES = st.integers(min_value=0, max_value=10_000)
"""Taken modulo what there is to choose from."""


class AnyOrder(RuleBasedStateMachine):
    """Three servers; each rule is one thing that a network, a clock, a client or a crash can do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(0)

    @initialize(seed=st.integers(0, 3), limits=st.sampled_from([FlowLimits(), TINY]))
    def found(self, seed: int, limits: FlowLimits) -> None:
        self.network = Network(3, seed, limits)
        self.network.bootstrap()

    def some(self, place: int) -> str:
        """Some node that is up."""
        up = sorted(self.network.nodes)
        return up[place % len(up)]

    @precondition(lambda self: self.network.in_flight)
    @rule(place=PLACES)
    def deliver(self, place: int) -> None:
        messages = self.network.in_flight
        self.network.deliver(messages.pop(place % len(messages)))
        self.network.collect()

    @precondition(lambda self: self.network.in_flight)
    @rule(place=PLACES)
    def lose(self, place: int) -> None:
        messages = self.network.in_flight
        del messages[place % len(messages)]

    @precondition(lambda self: self.network.in_flight)
    @rule(place=PLACES)
    def double(self, place: int) -> None:
        messages = self.network.in_flight
        messages.append(messages[place % len(messages)])

    @rule(milliseconds=st.sampled_from([1, 60, 120, 600, 1100, 2100]))
    def let_time_pass(self, milliseconds: int) -> None:
        """Every node wakes late, once, and nothing arrives meanwhile."""
        self.network.now += milliseconds / 1000
        for node in self.network.nodes.values():
            node.tick(self.network.now)
        self.network.collect()

    @rule(milliseconds=st.sampled_from([0, 500, 2500]))
    def run(self, milliseconds: int) -> None:
        """For a while everything that is sent is delivered, in order."""
        self.network.advance(milliseconds / 1000)

    @rule(place=PLACES)
    def isolate(self, place: int) -> None:
        self.network.heal()
        self.network.isolate(self.some(place))

    @rule()
    def heal(self) -> None:
        self.network.heal()

    @rule(place=PLACES, count=st.integers(1, 5))
    def propose(self, place: int, count: int) -> None:
        node = self.network.nodes[self.some(place)]
        for number in range(count):
            try:
                node.propose(b"%d" % number, self.network.now)
            except (NotLeaderError, TransferInProgressError):
                return
        self.network.collect()

    @rule(place=PLACES)
    def transfer(self, place: int) -> None:
        node = self.network.nodes[self.some(place)]
        try:
            node.transfer_leadership(None, self.network.now)
        except (NotLeaderError, TransferError, TransferInProgressError):
            return
        self.network.collect()

    @rule(place=PLACES)
    def compact(self, place: int) -> None:
        name = self.some(place)
        if self.network.nodes[name].last_applied > self.network.nodes[name].log.base_index:
            self.network.compact(name)
            self.network.collect()

    @rule(place=PLACES)
    def crash_and_restart(self, place: int) -> None:
        name = self.some(place)
        self.network.crash(name)
        self.network.restart(name)

    @invariant()
    def nothing_is_broken(self) -> None:
        check(self.network)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
