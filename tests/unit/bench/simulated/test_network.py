"""What faults do to messages in virtual time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.simulated.engine import Engine
from bench.simulated.network import Bounds, SimulatedNetwork
from faults import cuts
from faults.links import CLIENT, Link, LinkState, Mode

LINK = Link("a", "b")


class Wire:
    """A network of a, b and c on which numbers are sent from a to b, one every millisecond."""

    def __init__(self, seed: int = 1, bounds: Bounds | None = None) -> None:
        self.engine = Engine(seed)
        self.changes: list[tuple[str, tuple[str, ...]]] = []
        self.network = SimulatedNetwork(self.engine, "abc", self._changed, bounds)
        self.arrived: list[tuple[float, int]] = []
        self.network.deliver_to(dict.fromkeys([*"abc", CLIENT], self._receive))
        self._sent = 0

    def _changed(self, action: str, links: Any, detail: str, attempted: int | None, broken: Any) -> None:
        self.changes.append((action, tuple(broken)))

    def _receive(self, item: int) -> None:
        self.arrived.append((self.engine.now, item))

    def send(self, count: int) -> None:
        for _ in range(count):
            self.network.from_node["a"]["b"].send(self._sent)
            self._sent += 1
            self.engine.run(self.engine.now + 0.001)

    def settle(self) -> list[int]:
        """Everything that ever arrived, in order."""
        self.engine.run(self.engine.now + 60)
        return [item for _, item in self.arrived]


def test_messages_arrive_in_order_and_late_by_milliseconds() -> None:
    wire = Wire()
    wire.send(200)
    assert wire.settle() == list(range(200))
    assert all(0 < at_s - item / 1000 < 0.01 for at_s, item in wire.arrived)


@pytest.mark.parametrize("mode", [Mode.BLACKHOLE, Mode.REFUSE])
def test_a_cut_loses_what_is_sent_and_what_is_under_way(mode: Mode) -> None:
    wire = Wire()
    wire.network.delay([LINK], 50)
    wire.send(5)
    with wire.network.cutting([LINK], mode):
        wire.send(5)
        assert wire.settle() == []
    wire.send(5)
    assert wire.settle() == [10, 11, 12, 13, 14]


def test_a_held_link_delivers_late_and_in_order_once_healed() -> None:
    wire = Wire()
    wire.network.delay([LINK], 50)
    wire.send(3)
    with wire.network.cutting([LINK], Mode.HOLD):
        wire.send(3)
        assert wire.settle() == []
    wire.send(3)
    assert wire.settle() == list(range(9))


def test_a_cut_is_of_one_direction_and_one_link() -> None:
    wire = Wire()
    wire.network.cut([Link("b", "a"), Link("a", "c")])
    wire.send(5)
    assert wire.settle() == [0, 1, 2, 3, 4]
    assert {*wire.network.clear()} == {("a", "b"), ("b", "c"), ("c", "a"), ("c", "b")}


def test_a_delay_is_felt_by_all_and_lets_none_overtake() -> None:
    wire = Wire()
    with wire.network.delayed([LINK], 200, jitter_ms=100):
        wire.send(50)
        assert wire.settle() == list(range(50))
    assert all(0.1 <= at_s - item / 1000 < 0.4 for at_s, item in wire.arrived)


def test_a_limited_link_takes_its_time_for_each_message() -> None:
    wire = Wire()
    wire.network.limit([LINK], 1)
    wire.send(4)
    wire.settle()
    assert [round(at_s, 1) for at_s, _ in wire.arrived] == [0.3, 0.5, 0.8, 1.0], "256 bytes each, 1024 a second"


def test_what_a_limit_has_kept_back_comes_through_in_order_when_it_is_over() -> None:
    wire = Wire()
    wire.network.limit([LINK], 1)
    wire.send(40)
    wire.network.heal([LINK])
    wire.engine.run(wire.engine.now + 0.01)
    wire.send(3)
    assert wire.settle() == list(range(43))
    assert all(at_s < 0.1 for at_s, _ in wire.arrived), "and at once: 40 messages would have taken ten seconds"


def test_beyond_what_may_be_under_way_messages_wait_and_beyond_what_may_wait_they_are_lost() -> None:
    wire = Wire(bounds=Bounds(unanswered_bytes=1024, waiting=3))
    wire.network.delay([LINK], 1000)
    wire.send(9)
    assert wire.settle() == [0, 1, 2, 3, 4, 5, 6], "four of 256 bytes are under way, three wait"
    assert [round(at_s) for at_s, _ in wire.arrived] == [1, 1, 1, 1, 2, 2, 2]


def test_a_message_that_is_larger_than_the_bound_goes_alone() -> None:
    wire = Wire(bounds=Bounds(unanswered_bytes=100, waiting=3))
    wire.network.delay([LINK], 1000)
    wire.send(3)
    wire.settle()
    assert [(round(at_s), item) for at_s, item in wire.arrived] == [(1, 0), (2, 1), (3, 2)]


def test_a_small_message_does_not_overtake_a_large_one_that_waits() -> None:
    wire = Wire(bounds=Bounds(unanswered_bytes=1024, waiting=3))
    wire.network.delay([LINK], 1000)
    large = SimpleNamespace(data=bytes(900))
    link = wire.network.from_node["a"]["b"]
    for item in (0, large, 1):
        link.send(item)
    assert wire.settle() == [0, large, 1]


def test_what_waits_when_a_link_becomes_clear_goes_before_what_is_sent_then() -> None:
    wire = Wire(bounds=Bounds(unanswered_bytes=256, waiting=9))
    wire.network.delay([LINK], 1000)
    wire.send(4)
    wire.network.heal([LINK])
    wire.send(2)
    assert wire.settle() == list(range(6))


def test_a_connection_on_which_nothing_has_come_through_for_long_is_given_up_with_what_waits_on_it() -> None:
    wire = Wire(bounds=Bounds(unanswered_bytes=256, waiting=9))
    wire.network.cut([LINK], Mode.HOLD)
    wire.send(3)
    wire.engine.run(6.0)
    wire.send(1)
    wire.network.heal([LINK])
    assert wire.settle() == [3]


def test_a_held_link_keeps_what_was_under_way_when_it_was_clear() -> None:
    wire = Wire(bounds=Bounds())
    wire.network.from_node["a"]["b"].send(-1)
    wire.network.cut([LINK], Mode.HOLD)
    wire.send(3)
    assert wire.settle() == []
    wire.network.heal([LINK])
    assert wire.settle() == [-1, 0, 1, 2]


def test_loss_loses_about_its_share() -> None:
    wire = Wire()
    with wire.network.noisy(loss=0.3):
        wire.send(1000)
        arrived = wire.settle()
    assert 600 < len(arrived) < 800
    assert arrived == sorted(set(arrived))


def test_duplication_delivers_some_twice_and_loses_none() -> None:
    wire = Wire()
    with wire.network.noisy(duplication=0.2):
        wire.send(1000)
        arrived = wire.settle()
    assert set(arrived) == set(range(1000))
    assert 1100 < len(arrived) < 1300


def test_reordering_lets_some_be_overtaken_and_loses_none() -> None:
    wire = Wire()
    with wire.network.noisy(reordering=0.2):
        wire.send(1000)
        arrived = wire.settle()
    assert sorted(arrived) == list(range(1000))
    assert arrived != sorted(arrived)


def test_a_node_that_is_disconnected_gets_nothing_of_what_was_under_way_and_everything_after_it() -> None:
    wire = Wire()
    wire.network.delay([LINK], 50)
    wire.send(3)
    wire.network.disconnect("c")
    wire.send(3)
    assert wire.settle() == list(range(6))
    wire.send(3)
    wire.network.disconnect("b")
    wire.send(3)
    assert wire.settle() == [*range(6), 9, 10, 11]


def test_noise_ends_with_its_block() -> None:
    wire = Wire()
    with wire.network.noisy(loss=1.0):
        wire.send(3)
    wire.send(3)
    assert wire.settle() == [3, 4, 5]


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5 is no probability"), Wire().network.noisy(loss=1.5):
        pass


def test_a_name_that_is_no_node_is_refused_as_on_real_links() -> None:
    with pytest.raises(ValueError, match="no link leads to or from z"):
        Wire().network.cut([Link("a", "z")])


def test_leaving_a_cut_heals_its_links_alone() -> None:
    wire = Wire()
    wire.network.cut([Link("c", "a")])
    with wire.network.isolated("b", Mode.HOLD):
        assert {link for link, state in wire.network.state().items() if state.cut is Mode.HOLD} == cuts.isolate(
            "b", "abc"
        )
    assert {link for link, state in wire.network.state().items() if state != LinkState()} == {Link("c", "a")}


def test_clients_notice_a_refused_connection_and_one_that_healing_closes() -> None:
    wire = Wire()
    client = Link(CLIENT, "a")
    for mode in (Mode.BLACKHOLE, Mode.REFUSE, Mode.HOLD):
        wire.network.cut([client], mode)
        wire.network.heal([client])
    assert wire.changes == [
        ("cut", ()), ("heal", ("a",)), ("cut", ("a",)), ("heal", ()), ("cut", ()), ("heal", ()),
    ]  # fmt: skip
