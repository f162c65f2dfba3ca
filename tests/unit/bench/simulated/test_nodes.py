"""What simulated nodes do, and what crashes, pauses, clocks and disks do to them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from bench.operations import Cas, Freshness, Get, Join, Leave, Outcome, Put, TakeSnapshot, Transfer
from bench.simulated.network import first_address
from bench.simulated.observer import Observer
from bench.simulated.settings import WorldSettings
from bench.simulated.world import VirtualWorld
from faults import cuts
from faults.links import Mode
from node.raft import Configuration, Entry, HardState, Role, Snapshot
from node.raft.transitions import RoleChanged, SnapshotInstalled
from node.server import SnapshotPolicy
from tests.unit.bench.simulated.worlds import asked, followers_of, founded, leader_of, pass_time, put

SMALL_SNAPSHOTS = WorldSettings(snapshots=SnapshotPolicy(threshold=20, trailing_logs=5))


def last_synced(world: VirtualWorld, name: str) -> int:
    content = world.nodes[name].disk.load()
    return content.base_index + len(content.entries)


def events(world: VirtualWorld, name: str, kind: type) -> list[tuple[float, object]]:
    return [(at_s, what) for at_s, what in world.nodes[name].records if isinstance(what, kind)]


def test_what_a_leader_acknowledges_is_synced_on_every_disk() -> None:
    world = founded()
    written = put(world, leader_of(world))
    assert (written.outcome, written.modify_index) == (Outcome.OK, 3)
    assert [last_synced(world, name) for name in world.nodes] == [3, 3, 3]


def test_a_follower_refuses_a_write_and_a_consistent_read_and_serves_a_stale_one() -> None:
    world = founded()
    put(world, leader_of(world))
    follower = followers_of(world)[0]
    refused = [put(world, follower), asked(world, follower, Get("x", Freshness.LINEARIZABLE))]
    assert [(operation.outcome, operation.reason) for operation in refused] == [(Outcome.FAILED, "not leader")] * 2
    assert asked(world, follower, Get("x")).value == "1"


@pytest.mark.parametrize("freshness", [Freshness.LINEARIZABLE, Freshness.LEASE])
def test_a_leader_serves_reads_that_are_not_stale(freshness: Freshness) -> None:
    world = founded()
    put(world, leader_of(world))
    assert asked(world, leader_of(world), Get("x", freshness)).value == "1"


def test_a_cas_that_comes_too_late_has_failed_and_says_what_it_found() -> None:
    world = founded()
    index = put(world, leader_of(world)).modify_index
    cas = asked(world, leader_of(world), Cas("x", "2", 1))
    assert (cas.outcome, cas.reason, cas.modify_index) == (Outcome.FAILED, "cas mismatch", index)


def test_a_write_that_is_asked_for_again_is_answered_as_the_first_time_and_an_older_one_is_not_known() -> None:
    world = founded()
    first = Cas("x", "1", 0, client_id="me", sequence=1)
    second = Put("x", "2", client_id="me", sequence=2)
    done, again, _, late = [asked(world, leader_of(world), write) for write in (first, first, second, first)]
    assert (again.outcome, again.modify_index) == (Outcome.OK, done.modify_index)
    assert (late.outcome, late.reason) == (Outcome.UNKNOWN, "superseded")


class CrashAfterSaving(Observer):
    """Kills the node named as soon as it has saved entries, before it can send a message."""

    def __init__(self) -> None:
        self.world: VirtualWorld | None = None
        self.victim = ""

    def saved(
        self, name: str, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None, at_s: float
    ) -> None:
        if self.world is not None and name == self.victim and entries:
            node = self.world.nodes[name]
            self.world.engine.after(0.0, lambda _: node.crash())


def test_a_leader_that_crashes_between_saving_and_sending_has_told_nobody_and_remembers() -> None:
    observer = CrashAfterSaving()
    world = founded(observer=observer)
    observer.world, observer.victim = world, leader_of(world)
    others = followers_of(world)
    written = put(world, observer.victim, seconds=0.1)
    assert (written.outcome, written.reason) == (Outcome.UNKNOWN, "ConnectionError")
    assert last_synced(world, observer.victim) == 3
    assert [last_synced(world, name) for name in others] == [2, 2]


def test_a_node_that_crashes_during_a_save_comes_back_with_what_is_on_its_disk() -> None:
    world = founded()
    follower = followers_of(world)[0]
    world.nodes[follower].disk.extra_s = 1.0
    put(world, leader_of(world), seconds=0.5)
    world.nodes[follower].crash(torn=True)
    assert last_synced(world, follower) == 2
    world.nodes[follower].start()
    pass_time(world, 5.0)
    assert last_synced(world, follower) == 3


def test_a_paused_leader_ends_its_reign_when_its_lease_runs_out_and_not_when_it_wakes() -> None:
    world = founded()
    old = leader_of(world)
    paused_s = world.engine.now
    world.nodes[old].pause()
    pass_time(world, 10.0)
    new = next(name for name in world.nodes if name != old and events(world, name, RoleChanged))
    world.nodes[old].resume()
    pass_time(world, 1.0)
    at_s, last = events(world, old, RoleChanged)[-1]
    assert isinstance(last, RoleChanged)
    assert last.role is Role.FOLLOWER
    assert paused_s <= at_s < paused_s + 0.6, "half a second of lease, by its own clock"
    assert at_s < min(since_s for since_s, what in events(world, new, RoleChanged) if what.role is Role.LEADER)  # type: ignore[attr-defined]


def test_what_reaches_a_paused_node_waits_for_it() -> None:
    world = founded()
    follower = followers_of(world)[0]
    put(world, leader_of(world))
    world.nodes[follower].pause()
    came: list[object] = []
    world.ask(0, follower, Get("x"), came.append)
    pass_time(world, 3.0)
    assert came == []
    world.nodes[follower].resume()
    pass_time(world, 0.1)
    assert [operation.value for operation in world.history][-1] == "1"


def test_a_client_of_a_paused_node_gives_up_and_knows_nothing() -> None:
    world = founded()
    leader = leader_of(world)
    world.nodes[leader].pause()
    written = put(world, leader)
    assert (written.outcome, written.reason) == (Outcome.UNKNOWN, "ReadTimeout")
    assert written.completed_s - written.invoked_s == pytest.approx(8.0)


def test_a_client_of_a_dead_node_knows_nothing_at_once() -> None:
    world = founded()
    follower = followers_of(world)[0]
    world.nodes[follower].crash()
    written = put(world, follower)
    assert (written.outcome, written.reason) == (Outcome.UNKNOWN, "ConnectionError")
    assert written.completed_s - written.invoked_s < 0.1


def test_a_node_whose_disk_is_full_stops_and_acknowledges_nothing() -> None:
    world = founded()
    leader = leader_of(world)
    world.nodes[leader].disk.full = True
    written = put(world, leader)
    assert (written.outcome, written.reason) == (Outcome.UNKNOWN, "ConnectionError")
    assert world.nodes[leader].process is None
    assert leader_of(world) != leader, "the others go on"


def test_a_node_that_cannot_keep_its_snapshot_stops() -> None:
    world = founded(settings=SMALL_SNAPSHOTS)
    follower = world.nodes[followers_of(world)[0]]
    world.ask(0, follower.name, TakeSnapshot(), lambda _: None)
    pass_time(world, 0.005)
    follower.disk.full = True
    pass_time(world, 0.1)
    assert follower.process is None
    assert follower.disk.load().snapshot is None


def test_a_node_comes_back_from_a_torn_save_and_agrees_with_the_others() -> None:
    kept = set()
    for seed in range(10):
        world = founded(seed=seed)
        follower = world.nodes[followers_of(world)[0]]
        follower.disk.transactional = False
        follower.in_next_save = partial(follower.crash, torn=True)
        put(world, leader_of(world), seconds=0.5)
        assert follower.process is None
        kept.add(last_synced(world, follower.name))
        follower.start()
        pass_time(world, 5.0)
        assert len({node.process.machine.digest for node in world.nodes.values() if node.process}) == 1
    assert kept == {2, 3}


def test_what_was_to_be_done_in_a_save_and_is_taken_back_is_not_done() -> None:
    world = founded()
    follower = world.nodes[followers_of(world)[0]]
    follower.disk.extra_s, follower.in_next_save = 1.0, follower.crash
    put(world, leader_of(world), seconds=0.01)
    follower.in_next_save = None
    pass_time(world, 2.0)
    assert follower.process is not None


def test_a_follower_whose_link_is_healed_hears_of_its_leader_at_once() -> None:
    """The end of the connection is a hint, as it is to the live node; the next heartbeat would be up to 0.1 s later."""
    world = founded()
    leader, (follower, *_) = leader_of(world), followers_of(world)
    for _ in range(10):
        with world.network.isolated(follower):
            assert put(world, leader, seconds=0.05).outcome is Outcome.OK
        pass_time(world, 0.02)
        assert last_synced(world, follower) == last_synced(world, leader)


def test_a_node_hears_that_its_peer_has_died() -> None:
    world = founded()
    leader, (follower, other) = leader_of(world), followers_of(world)
    world.nodes[follower].crash()
    pass_time(world, 0.001)
    told = [(who, words) for _, who, words in world.chronicle.last if isinstance(words, str) and "ended" in words]
    assert {who for who, words in told if words.endswith(f"to {follower} ended")} == {leader, other}


def test_clocks_that_disagree_about_the_time_and_its_rate_elect_and_write() -> None:
    world = founded(5, settings=WorldSettings(clock_rates=(0.9, 1.1)))
    rates = {node.clock.rate for node in world.nodes.values()}
    assert len(rates) == 5
    assert put(world, leader_of(world)).outcome is Outcome.OK


def test_a_clock_that_runs_faster_brings_the_timeout_forward() -> None:
    def elected_after(rate: float) -> float:
        world = founded(settings=WorldSettings(clock_rates=(1.0, 1.0)))
        world.nodes[leader_of(world)].crash()
        crashed_s = world.engine.now
        for node in world.nodes.values():
            node.set_clock_rate(rate)
        pass_time(world, 30.0)
        return events(world, leader_of(world), RoleChanged)[-1][0] - crashed_s

    assert elected_after(1.9) < elected_after(1.0) < elected_after(0.6)


def test_a_follower_that_is_far_behind_is_sent_a_snapshot() -> None:
    world = founded(settings=SMALL_SNAPSHOTS)
    follower = followers_of(world)[0]
    world.nodes[follower].crash()
    for count in range(60):
        put(world, leader_of(world), f"k{count}", seconds=0.1)
    world.nodes[follower].start()
    pass_time(world, 5.0)
    assert events(world, follower, SnapshotInstalled)
    digests = {node.process.machine.digest for node in world.nodes.values() if node.process}
    assert len(digests) == 1
    world.nodes[follower].crash()
    world.nodes[follower].start()
    pass_time(world, 5.0)
    assert asked(world, follower, Get("k0")).value == "1", "the snapshot is on its disk"


def test_a_node_joins_leaves_and_leadership_moves_when_asked() -> None:
    world = VirtualWorld(1, ["n1", "n2", "n3", "n4"], settings=WorldSettings())
    for node in world.nodes.values():
        node.start(world.found(["n1", "n2", "n3"]) if node.name == "n1" else None)
    pass_time(world, 3.0)
    old = leader_of(world)
    assert asked(world, old, Join("n4", first_address("n4"))).outcome is Outcome.OK
    assert asked(world, old, Transfer("n4")).outcome is Outcome.OK
    assert leader_of(world) == "n4"
    assert asked(world, "n4", Leave("n4")).outcome is Outcome.OK
    pass_time(world, 5.0)
    process = world.nodes[next(name for name in ("n1", "n2", "n3") if name != old)].process
    assert process is not None
    assert process.raft.configuration.names == ("n1", "n2", "n3")


def moved(world: VirtualWorld, name: str, address: str) -> None:
    node = world.nodes[name]
    node.crash()
    node.move(address)
    node.start()


def test_a_node_that_has_moved_hears_nothing_until_it_joins_under_its_new_address() -> None:
    world = founded()
    leader, follower = leader_of(world), followers_of(world)[0]
    moved(world, follower, "elsewhere:1")
    assert put(world, leader).outcome is Outcome.OK
    assert (last_synced(world, leader), last_synced(world, follower)) == (3, 2)
    assert asked(world, leader, Join(follower, "elsewhere:1")).outcome is Outcome.OK
    assert (last_synced(world, leader), last_synced(world, follower)) == (4, 4)


def test_a_member_that_is_given_a_wrong_address_hears_nothing_more_until_that_leads_to_it() -> None:
    world = founded()
    leader, follower = leader_of(world), followers_of(world)[0]
    assert asked(world, leader, Join(follower, "nowhere:1")).outcome is Outcome.OK
    put(world, leader)
    assert (last_synced(world, leader), last_synced(world, follower)) == (4, 2)
    world.nodes[follower].lead_here(frozenset(("nowhere:1",)))
    pass_time(world, 1.0)
    assert last_synced(world, follower) == 4


def test_a_joiner_answers_a_leader_that_it_does_not_know_where_that_says_it_lives() -> None:
    world = VirtualWorld(1, ["n1", "n2"])
    moved(world, "n1", "elsewhere:1")
    for node, first in zip(world.nodes.values(), (Configuration.first([("n1", "elsewhere:1")]), None), strict=True):
        node.crash()
        node.start(first)
    pass_time(world, 3.0)
    assert asked(world, "n1", Join("n2", first_address("n2"))).outcome is Outcome.OK


def test_a_joiner_that_is_never_reached_is_given_up() -> None:
    world = VirtualWorld(1, ["n1", "n2", "n3", "n4"])
    for node in world.nodes.values():
        node.start(world.found(["n1", "n2", "n3"]) if node.name == "n1" else None)
    pass_time(world, 3.0)
    leader = leader_of(world)
    asked(world, leader, Join("n4", "nowhere:1"), seconds=9.0)
    process = world.nodes[leader].process
    assert process is not None
    assert process.raft.configuration.others == ("n4",)
    pass_time(world, 2.0)
    assert process.raft.configuration.names == ("n1", "n2", "n3")


def test_of_two_joins_of_a_server_under_two_addresses_the_later_one_counts() -> None:
    world = VirtualWorld(1, ["n1", "n2"])
    for node in world.nodes.values():
        node.start(world.found(["n1"]) if node.name == "n1" else None)
    pass_time(world, 3.0)
    world.nodes["n2"].crash()
    for address in ("nowhere:1", first_address("n2")):
        world.ask(0, "n1", Join("n2", address), lambda _: None)
    pass_time(world, 2.0)
    assert next((o.asked.address, o.outcome) for o in world.history) == ("nowhere:1", Outcome.FAILED)  # type: ignore[union-attr]
    assert last_synced(world, "n1") == 4
    world.nodes["n2"].start()
    pass_time(world, 2.0)
    assert [o.outcome for o in world.history] == [Outcome.FAILED, Outcome.OK]


def test_a_client_of_a_follower_is_sent_to_the_leader() -> None:
    world = founded()
    refused = put(world, followers_of(world)[0])
    assert (refused.reason, refused.told.elsewhere) == ("not leader", leader_of(world))


def test_a_leave_of_a_stranger_and_a_transfer_to_one_are_refused() -> None:
    world = founded()
    for question in (Leave("n9"), Transfer("n9")):
        refused = asked(world, leader_of(world), question)
        assert (refused.outcome, refused.reason) == (Outcome.FAILED, "bad request")


def test_a_client_link_that_is_cut_swallows_the_answer_of_a_write_that_happened() -> None:
    world = founded()
    leader = leader_of(world)
    came: list[object] = []
    world.ask(0, leader, Put("x", "1"), came.append)
    pass_time(world, 0.0015)
    world.network.cut(cuts.between("client", leader))
    pass_time(world, 10.0)
    (written,) = world.history
    assert (written.outcome, written.reason) == (Outcome.UNKNOWN, "ReadTimeout")
    assert [last_synced(world, name) for name in world.nodes] == [3, 3, 3]


def test_a_write_that_its_client_gave_up_may_take_effect_yet() -> None:
    world = founded()
    leader = leader_of(world)
    with world.network.cutting(cuts.between("client", leader), Mode.HOLD):
        written = put(world, leader)
    assert written.outcome is Outcome.UNKNOWN
    pass_time(world, 1.0)
    assert asked(world, leader, Get("x", Freshness.LINEARIZABLE)).value == "1"
