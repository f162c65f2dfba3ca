"""Faults that overlap in virtual time: each ends alone, in whatever order they began and end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest
from msgspec.structs import replace

from bench.case import Case, Settings, plan
from bench.cluster import NoSuchNodeError
from bench.player import Player
from bench.schedule import (
    AnyFault,
    Clients,
    Crash,
    Cut,
    Delay,
    Drift,
    FullDisk,
    Limit,
    Move,
    Noise,
    Pause,
    Schedule,
    SlowDisk,
)
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.engine import Engine
from bench.simulated.invariants import Invariants
from bench.simulated.network import SimulatedNetwork
from faults.links import CLIENT, UP, Kind, Link, LinkState, Mode
from faults.nodes import NodeState

LINK = Link("a", "b")
NODES = ("n1", "n2", "n3")
ENDS_FIRST = ("the first", "the second")

# On links

Begin = Callable[[SimulatedNetwork], AbstractContextManager[None]]

ON_LINKS: dict[str, tuple[Begin, LinkState]] = {
    **{mode.value: (lambda network, mode=mode: network.cutting([LINK], mode), LinkState(cut=mode)) for mode in Mode},  # type: ignore[misc]
    "delay": (lambda network: network.delayed([LINK], 40, 5), LinkState(latency_ms=40, jitter_ms=5)),
    "limit": (lambda network: network.limited([LINK], 16), LinkState(rate_kib_s=16)),
    "noise": (lambda network: network.noisy(loss=0.25, reordering=0.5), LinkState(loss=0.25, reordering=0.5)),
}
"""How a fault begins, and what it alone does to the link."""


class Wire:
    """A network of a and b, what is told of it, and messages from a to b."""

    def __init__(self) -> None:
        self.engine = Engine(1)
        self.told: list[tuple[str, str, int | None]] = []
        self.network = SimulatedNetwork(
            self.engine, "ab", lambda action, links, detail, attempted, _: self.told.append((action, detail, attempted))
        )
        self.arrived: list[int] = []
        self.network.deliver_to(dict.fromkeys(["a", "b", CLIENT], self.arrived.append))

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.network.links[LINK].send(number)
        self.engine.run(self.engine.now + 1)

    def state(self) -> LinkState:
        return self.network.state()[LINK]


def overlapping(kinds: Iterable[str]) -> list[tuple[str, str, str]]:
    """Every pair of kinds, in both orders of their beginnings and both of their ends."""
    return list(itertools.product(kinds, kinds, ENDS_FIRST))


@pytest.mark.parametrize(("first", "second", "over"), overlapping(ON_LINKS))
def test_of_two_faults_on_a_link_each_ends_alone(first: str, second: str, over: str) -> None:
    wire = Wire()
    blocks = []
    for kind, in_force in ((first, ON_LINKS[first][1]), (second, ON_LINKS[first][1] + ON_LINKS[second][1])):
        blocks.append(ExitStack())
        blocks[-1].enter_context(ON_LINKS[kind][0](wire.network))
        assert wire.state() == in_force
    ended, left = (0, second) if over == "the first" else (1, first)
    blocks[ended].close()
    assert wire.state() == ON_LINKS[left][1]
    blocks[1 - ended].close()
    assert set(wire.network.state().values()) == {UP}
    assert [action for action, *_ in wire.told if action in ("end", "heal")][-1] == "heal"


def test_a_latency_that_ends_under_a_cut_leaves_the_cut() -> None:
    wire = Wire()
    with wire.network.cutting([LINK]):
        with wire.network.delayed([LINK], 40):
            pass
        wire.send(1)
    wire.send(2)
    assert wire.arrived == [2]


def test_an_isolation_inside_a_latency_leaves_the_latency() -> None:
    wire = Wire()
    links = [LINK, Link("b", "a")]
    with wire.network.delayed(links, 40):
        with wire.network.isolated("a"):
            assert wire.state() == LinkState(cut=Mode.BLACKHOLE, latency_ms=40)
        assert [wire.network.state()[link] for link in links] == [LinkState(latency_ms=40)] * 2


def test_what_is_held_stays_held_while_other_faults_come_and_go() -> None:
    wire = Wire()
    with wire.network.cutting([LINK], Mode.HOLD):
        wire.send(1, 2)
        with wire.network.delayed([LINK], 40), wire.network.cutting([LINK], Mode.HOLD):
            wire.send(3)
        wire.send(4)
        assert wire.arrived == []
    wire.send()
    assert wire.arrived == [1, 2, 3, 4]


def test_what_is_held_is_lost_to_a_blackhole_that_begins_and_ends_meanwhile() -> None:
    wire = Wire()
    with wire.network.cutting([LINK], Mode.HOLD):
        wire.send(1)
        with wire.network.cutting([LINK], Mode.BLACKHOLE):
            wire.send(2)
        wire.send(3)
        assert wire.arrived == []
    wire.send()
    assert wire.arrived == [3]


def test_noise_inside_noise_leaves_the_outer_one() -> None:
    wire = Wire()
    with wire.network.noisy(loss=0.5):
        with wire.network.noisy(loss=0.5):
            assert wire.state() == LinkState(loss=0.75)
        assert wire.state() == LinkState(loss=0.5)
    assert wire.state() == UP


def test_noise_does_to_what_clients_ask_nothing_but_double_it() -> None:
    wire = Wire()
    with wire.network.noisy(loss=0.5, duplication=0.25, reordering=0.5):
        assert wire.network.state()[Link(CLIENT, "a")] == LinkState(duplication=0.25)


def test_a_command_given_twice_counts_as_it_was_given_last_and_a_block_is_a_fault_of_its_own() -> None:
    wire = Wire()
    wire.network.delay([LINK], 40)
    with wire.network.delayed([LINK], 3):
        wire.network.delay([LINK], 20)
        assert wire.state() == LinkState(latency_ms=23)
    assert wire.state() == LinkState(latency_ms=20)


def test_a_command_takes_the_former_ones_place_on_the_links_it_names_and_no_others() -> None:
    wire = Wire()
    back = Link("b", "a")
    wire.network.cut([LINK, back], Mode.REFUSE)
    wire.network.cut([LINK], Mode.HOLD)
    assert [wire.network.state()[link].cut for link in (LINK, back)] == [Mode.HOLD, Mode.REFUSE]


def test_healing_undoes_what_a_block_did_and_the_end_of_the_block_then_does_nothing() -> None:
    wire = Wire()
    with wire.network.cutting([LINK]):
        wire.network.delay([LINK], 40)
        wire.network.heal([LINK])
        assert wire.state() == UP
        wire.network.delay([LINK], 20)
        told = list(wire.told)
    assert wire.state() == LinkState(latency_ms=20)
    assert wire.told == told


def test_healing_one_kind_leaves_the_others_whoever_began_them() -> None:
    wire = Wire()
    with wire.network.delayed([LINK], 40), wire.network.cutting([LINK]):
        wire.network.delay([LINK], 20)
        wire.network.limit([LINK], 16)
        wire.network.heal([LINK], Kind.DELAY)
        assert wire.state() == LinkState(cut=Mode.BLACKHOLE, rate_kib_s=16)
        wire.network.heal(only=Kind.CUT)
        assert wire.state() == LinkState(rate_kib_s=16)
    assert wire.state() == LinkState(rate_kib_s=16)


def test_an_end_is_told_as_healing_only_where_links_are_up_again_with_what_they_met_since_they_were_broken() -> None:
    wire = Wire()
    with wire.network.delayed([LINK, Link("b", "a")], 40):
        wire.send(1)
        with wire.network.cutting([LINK], Mode.HOLD):
            wire.send(2)
        wire.send(3)
    assert wire.told == [
        ("delay", "40ms", None),
        ("cut", "hold", None),
        ("end", "cut", None),
        ("heal", "", 3),
    ]  # fmt: skip


def test_an_end_that_leaves_some_links_faulty_is_told_of_each_as_it_is() -> None:
    wire = Wire()
    wire.network.delay([LINK], 40)
    with wire.network.cutting([LINK, Link("b", "a")]):
        wire.told.clear()
    assert wire.told == [("heal", "", 0), ("end", "cut", None)]


# On nodes

ON_NODES: dict[str, AnyFault] = {
    "crash": Crash(at_s=0, node="n3"),
    "torn crash": Crash(at_s=0, node="n3", torn=True),
    "pause": Pause(at_s=0, node="n3"),
    "full disk": FullDisk(at_s=0, node="n3"),
    "slow disk": SlowDisk(at_s=0, node="n3", latency_ms=50),
    "drift": Drift(at_s=0, node="n3", rate=1.1),
    "move": Move(at_s=0, node="n3"),
}
STOPS = {"crash", "torn crash", "pause", "full disk"}
BUSY = Clients(at_s=0, for_s=6, number=4)
"""So that somebody saves in every second: a full disk is noticed, and a save is torn."""
LOOKED_S = (1.9, 2.9, 3.9, 5.9)
"""Long after the first fault began, the second, one ended, and the other."""


def set_up(
    *faults: AnyFault, length_s: float, watcher: Invariants | None = None, **settings: float
) -> tuple[SimulatedCluster, Case]:
    """A case, and the cluster that it is to be played on."""
    schedule = Schedule(nodes=NODES, members=NODES, length_s=length_s, faults=faults)
    case = Case(schedule=schedule, settings=Settings(**{"start_s": 0.0, **settings}), seed=1)  # type: ignore[arg-type]
    return SimulatedCluster(case.plan, observer=watcher or Invariants()), case


def seen(*faults: AnyFault) -> list[tuple[bool, float, bool, float]]:
    """Whether n3 ran, how slow its disk was, whether that was full, and its clock's rate, each time that was looked."""
    cluster, case = set_up(BUSY, *faults, length_s=6, clock_spread=0.0)
    world = cluster.world
    found: list[tuple[bool, float, bool, float]] = []

    def look(_: None) -> None:
        node = world.nodes["n3"]
        found.append((node.running, node.disk.extra_s, node.disk.full, node.clock.rate))

    for at_s in LOOKED_S:
        world.engine.at(at_s, look)
    with cluster.opened():
        Player(cluster, case).play()
    return found


def on_n3(kind: str, at_s: float, until_s: float, **more: float) -> AnyFault:
    return replace(ON_NODES[kind], at_s=at_s, for_s=until_s - at_s, **more)


def expected(*kinds: str) -> tuple[bool, float, bool, float]:
    """What there is to see while faults of these kinds last."""
    rate = 1.1 if "drift" in kinds else 1.0
    return not STOPS & set(kinds), 0.05 * kinds.count("slow disk"), "full disk" in kinds, rate


@pytest.mark.parametrize(("first", "second", "over"), overlapping(ON_NODES))
def test_of_two_faults_on_a_node_each_ends_alone(first: str, second: str, over: str) -> None:
    ends_s, left = ((3, 4), second) if over == "the first" else ((4, 3), first)
    found = seen(on_n3(first, 1, ends_s[0]), on_n3(second, 2, ends_s[1]))
    assert found == [expected(first), expected(first, second), expected(left), expected()]


@pytest.mark.parametrize("over", ENDS_FIRST)
def test_a_disk_is_as_slow_as_all_that_slows_it_down_and_a_clock_runs_at_the_newest_rate(over: str) -> None:
    ends_s = (3, 4) if over == "the first" else (4, 3)
    slow = seen(on_n3("slow disk", 1, ends_s[0], latency_ms=20), on_n3("slow disk", 2, ends_s[1], latency_ms=50))
    assert [extra_s for _, extra_s, *_ in slow] == [0.02, 0.07, 0.05 if over == "the first" else 0.02, 0]
    drifting = seen(on_n3("drift", 1, ends_s[0], rate=0.9), on_n3("drift", 2, ends_s[1], rate=1.2))
    assert [rate for *_, rate in drifting] == [0.9, 1.2, 1.2 if over == "the first" else 0.9, 1]


@pytest.mark.parametrize("ends_s", [(3, 4), (4, 3)])
def test_a_node_that_two_torn_crashes_strike_in_one_save_is_up_when_both_are_over(ends_s: tuple[int, int]) -> None:
    found = seen(*(on_n3("torn crash", 1, until_s) for until_s in ends_s))
    assert [running for running, *_ in found] == [False, False, False, True]


class Excused(Invariants):
    """Remembers for whom it was told that nobody may wait, and for whom no more."""

    def __init__(self) -> None:
        super().__init__()
        self.excuses: list[tuple[str, bool]] = []

    def excuse(self, name: str, excused: bool) -> None:
        super().excuse(name, excused)
        self.excuses.append((name, excused))


def test_a_node_is_excused_as_long_as_one_of_two_reasons_lasts() -> None:
    watcher = Excused()
    cluster, case = set_up(on_n3("move", 1, 3), on_n3("slow disk", 2, 4), length_s=5, watcher=watcher)
    with cluster.opened():
        Player(cluster, case).play()
    assert watcher.excuses == [("n3", True), ("n3", False)]


# On links, by schedule

BY_SCHEDULE: dict[str, tuple[AnyFault, LinkState]] = {
    **{mode.value: (Cut(at_s=0, sources=("n1",), mode=mode), LinkState(cut=mode)) for mode in Mode},
    "delay": (Delay(at_s=0, targets=("n2",), latency_ms=100), LinkState(latency_ms=100)),
    "limit": (Limit(at_s=0, sources=("n1",), targets=("n2",), rate_kib_s=16), LinkState(rate_kib_s=16)),
    "noise": (Noise(at_s=0, loss=0.25), LinkState(loss=0.25)),
}
"""A fault, and what it alone does to the link from n1 to n2."""


@pytest.mark.parametrize(("first", "second", "over"), overlapping(BY_SCHEDULE))
def test_of_two_faults_of_a_schedule_on_a_link_each_ends_alone(first: str, second: str, over: str) -> None:
    (one, alone), (other, also) = BY_SCHEDULE[first], BY_SCHEDULE[second]
    lengths_s, left = ((2, 2), also) if over == "the first" else ((3, 1), alone)
    faults = (replace(one, at_s=1, for_s=lengths_s[0]), replace(other, at_s=2, for_s=lengths_s[1]))
    cluster, case = set_up(*faults, length_s=5)
    states: list[LinkState] = []
    for at_s in (1.5, 2.5, 3.5, 4.5):
        cluster.world.engine.at(at_s, lambda _: states.append(cluster.network.state()[Link("n1", "n2")]))
    with cluster.opened():
        Player(cluster, case).play()
    assert states == [alone, alone + also, left, UP]
    assert set(cluster.network.state().values()) == {UP}


# On nodes, by a scenario


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    with SimulatedCluster(plan(3, seed=1)) as found:
        yield found


def test_a_resume_does_not_undo_a_crash(cluster: SimulatedCluster) -> None:
    cluster.pause("n3")
    cluster.kill("n3")
    with pytest.raises(NoSuchNodeError, match="n3 is down; start it with: restart n3"):
        cluster.resume("n3")
    assert not cluster.is_running("n3")
    cluster.restart("n3")
    cluster.wait_until_agreed()


def test_a_node_that_is_paused_twice_by_command_goes_on_at_the_first_resume(cluster: SimulatedCluster) -> None:
    cluster.pause("n3")
    cluster.pause("n3")
    cluster.resume("n3")
    assert cluster.is_running("n3")


def test_a_disk_is_as_slow_as_it_was_last_told_to_be_also_after_a_restart_on_an_empty_one(
    cluster: SimulatedCluster,
) -> None:
    cluster.slow_disk("n3", 40)
    cluster.slow_disk("n3", 20)
    cluster.restart("n3", wipe=True)
    assert cluster.world.nodes["n3"].disk.extra_s == 0.02
    cluster.slow_disk("n3", 0)
    assert cluster.world.nodes["n3"].disk.extra_s == 0


def test_a_full_disk_has_room_again_after_a_restart_and_a_slow_one_is_slow_still(cluster: SimulatedCluster) -> None:
    cluster.slow_disk("n3", 20)
    with cluster.writing():
        cluster.fill_disk("n3")
    cluster.restart("n3")
    cluster.wait_until_agreed()
    assert (cluster.world.nodes["n3"].disk.full, cluster.world.nodes["n3"].disk.extra_s) == (False, 0.02)


def test_a_founder_whose_data_are_gone_founds_no_second_cluster(cluster: SimulatedCluster) -> None:
    with cluster.network.isolated("n1"):
        cluster.restart("n1", wipe=True)
        cluster.pass_time(cluster.now_s + 5)
        status = cluster.status("n1")
        assert status is not None
        assert status.members == ()
    cluster.wait_until_agreed()


@pytest.mark.parametrize("does", [{"disk_latency_ms": -1}, {"clock_rate": -1}])
def test_what_nothing_can_do_to_a_node_is_refused(does: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"less than nothing|no clock runs"):
        NodeState(**does)  # type: ignore[arg-type]
