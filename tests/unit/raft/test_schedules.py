"""Random schedules against the core alone: crashes, cuts, losses, reordering, snapshots, members coming and going."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from node.raft import Entry, FlowLimits, MembershipChangeError, Raft, Role, TransferError, TransferInProgressError
from tests.unit.raft.harness import Network

STEPS = 150
TINY = FlowLimits(entries_per_message=3, entries_in_flight=8, snapshot_chunk_bytes=1, snapshot_bytes_in_flight=2)
"""So small that every bound is met."""


@pytest.mark.parametrize("seed", range(60))
def test_random_schedules_break_no_promise(seed: int) -> None:
    """Figure 3: election safety, log matching, state machine safety; and one leader at any instant."""
    dice = random.Random(seed)
    network = Network(dice.choice([3, 5]), seed, dice.choice([FlowLimits(), TINY]))
    network.bootstrap()
    for step in range(STEPS):
        dice.choice(ACTS)(network, dice)
        for leader in leaders(network):
            try:
                leader.propose(str(step).encode(), network.now)
            except TransferInProgressError:
                continue
        network.collect()
        dice.shuffle(network.in_flight)
        del network.in_flight[: dice.randint(0, len(network.in_flight) // 3)]
        network.advance(dice.uniform(0, 0.6))
        check(network)
    heal_and_agree(network)


def leaders(network: Network) -> list[Raft]:
    return [node for node in network.nodes.values() if network.now < node.lease_until_s]


def nothing(network: Network, dice: random.Random) -> None:
    """Most of the time, time only passes."""


def heal(network: Network, dice: random.Random) -> None:
    network.heal()


def crash(network: Network, dice: random.Random) -> None:
    if len(network.nodes) > len(network.names) // 2 + 1:
        network.crash(dice.choice(sorted(network.nodes)))


def restart(network: Network, dice: random.Random) -> None:
    down = sorted(set(network.names) - set(network.nodes))
    if down:
        network.restart(dice.choice(down))


def cut(network: Network, dice: random.Random) -> None:
    network.heal()
    network.isolate(*dice.sample(network.names, dice.randint(1, len(network.names) // 2)))


def compact(network: Network, dice: random.Random) -> None:
    name = dice.choice(sorted(network.nodes))
    if network.nodes[name].last_applied > network.nodes[name].log.base_index:
        network.compact(name, keep=dice.choice([0, 0, 3]))


def join(network: Network, dice: random.Random) -> None:
    for leader in leaders(network):
        if "extra" not in network.names:
            network.add("extra")
        name = dice.choice(network.names)
        leader.join(name, f"h:{name}-{dice.randint(1, 2)}", network.now)


def leave(network: Network, dice: random.Random) -> None:
    for leader in leaders(network):
        try:
            leader.leave(dice.choice(network.names), network.now)
        except MembershipChangeError:
            continue


def transfer(network: Network, dice: random.Random) -> None:
    for leader in leaders(network):
        try:
            leader.transfer_leadership(dice.choice([None, *network.names]), network.now)
        except (TransferError, TransferInProgressError):
            continue


ACTS: list[Callable[[Network, random.Random], None]] = [crash, restart, cut, heal, compact, join, leave, transfer]
ACTS += [nothing] * len(ACTS)


def check(network: Network) -> None:
    assert all(len(names) == 1 for names in network.leaders_of_term.values())
    assert len(leaders(network)) <= 1
    seen: dict[tuple[int, int], Entry] = {}
    for node in network.nodes.values():
        for entry in node.log.between(node.log.first_index, node.log.last_index):
            assert seen.setdefault((entry.index, entry.term), entry) == entry
    for entries in network.applied.values():
        assert entries == network.applied_anywhere[: len(entries)]


def heal_and_agree(network: Network) -> None:
    """With everything up and connected, the members elect, and all come to one log."""
    network.heal()
    for name in set(network.names) - set(network.nodes):
        network.restart(name)
    network.advance(30)
    leader = network.leader()
    assert leader.role is Role.LEADER
    for name in leader.configuration.names:
        assert network.nodes[name].commit_index == leader.commit_index
        assert network.applied[name] == network.applied[leader.id]
