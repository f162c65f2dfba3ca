"""Faults that outlast the blocks that an error ends, and what becomes of them when the error was none."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import pytest

from faults.links import KEPT, UP, Kind, Link, LinkState
from faults.network import LinkFaults
from faults.nodes import WELL, NodeFaults, NodeKind, NodeState
from faults.stillness import Stillness

LINK, OTHER = Link("n1", "n2"), Link("n2", "n1")


class Network(LinkFaults):
    """Each link is asked for one message more each time that somebody counts."""

    def __init__(self, still: Stillness) -> None:
        self.told: list[tuple[str, tuple[Link, ...], int | None]] = []
        self.count = 0
        super().__init__([LINK, OTHER], self.counted, still)

    def counted(self, links: Collection[Link]) -> Mapping[Link, int]:
        self.count += 1
        return dict.fromkeys(links, self.count)

    def in_force(self, link: Link) -> LinkState:
        return self._wanted[link]

    def _enforce(self, links: tuple[Link, ...]) -> None:
        pass

    def _changed(self, action: str, links: tuple[Link, ...], detail: str, attempted: int | None) -> None:
        self.told.append((action, links, attempted))


@pytest.fixture
def still() -> Stillness:
    found = Stillness()
    found.wanted = True
    return found


@pytest.fixture
def network(still: Stillness) -> Network:
    return Network(still)


@contextmanager
def gone_wrong() -> Iterator[None]:
    with pytest.raises(AssertionError):
        yield


def test_a_fault_is_over_with_its_block_unless_stillness_is_wanted() -> None:
    network = Network(Stillness())
    with gone_wrong(), network.cutting([LINK]):
        raise AssertionError
    assert network.in_force(LINK) == UP
    assert [action for action, *_ in network.told] == [Kind.CUT, "heal"]


def test_a_block_that_ends_well_ends_its_fault(network: Network) -> None:
    with network.cutting([LINK]):
        pass
    assert network.in_force(LINK) == UP


def test_a_fault_outlasts_the_block_that_an_error_ends_and_what_it_has_met_is_told(network: Network) -> None:
    with gone_wrong(), network.cutting([LINK]), network.delayed([LINK, OTHER], 5):
        raise AssertionError
    assert (network.in_force(LINK).cut is not None, network.in_force(OTHER).latency_ms) == (True, 5)
    kept = [(links, attempted) for action, links, attempted in network.told if action == KEPT]
    assert [links for links, _ in kept] == [(OTHER,), (LINK,)], "a link counts once nothing would be on it any more"
    assert all(attempted for _, attempted in kept)


def test_a_fault_on_a_node_outlasts_the_block_that_an_error_ends(still: Stillness) -> None:
    nodes = NodeFaults(["n1"], lambda *_: None, still)
    with gone_wrong(), nodes.lasting("n1", NodeKind.PAUSE, NodeState(paused=True)):
        raise AssertionError
    assert nodes.state("n1").paused
    still.stay()
    nodes.heal("n1", [NodeKind.PAUSE])
    assert nodes.state("n1") == WELL


def test_a_story_that_handles_its_error_goes_on_without_the_fault(network: Network) -> None:
    with gone_wrong(), network.cutting([LINK]):
        raise AssertionError
    with network.cutting([OTHER]):
        assert (network.in_force(LINK), network.in_force(OTHER).cut is not None) == (UP, True)


def test_what_is_done_while_the_error_is_on_its_way_out_ends_nothing(network: Network) -> None:
    with gone_wrong():
        try:
            with network.cutting([LINK]):
                raise AssertionError
        finally:
            network.delay([OTHER], 5)
            assert network.in_force(LINK).cut is not None


def test_what_others_do_meanwhile_ends_nothing(network: Network, still: Stillness) -> None:
    with gone_wrong(), network.cutting([LINK]):
        raise AssertionError
    thread = threading.Thread(target=still.goes_on)
    thread.start()
    thread.join()
    assert network.in_force(LINK).cut is not None


def test_when_the_story_is_over_a_fault_ends_only_by_a_command(network: Network, still: Stillness) -> None:
    with gone_wrong(), network.cutting([LINK]):
        raise AssertionError
    still.stay()
    network.delay([OTHER], 5)
    assert network.in_force(LINK).cut is not None
    network.heal()
    assert network.in_force(LINK) == UP
