from __future__ import annotations

import random
from typing import get_args

import pytest

from bench.operations import Join
from bench.schedule import AnyFault, Ask, Crash, Cut, Fault, Schedule, ScheduleError
from bench.search.stories import LONG_S, generate
from faults.links import Link

NODES = ("n1", "n2", "n3")


def schedule(*faults: Ask | Crash | Cut, length_s: float = 5.0) -> Schedule:
    return Schedule(nodes=NODES, members=NODES, length_s=length_s, faults=faults)


def as_is(name: str) -> str:
    return {"leader": "n2"}.get(name, name)


def test_the_same_seed_gives_the_same_schedule_and_another_another() -> None:
    first, again, other = (generate(random.Random(seed), 5) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(50))
def test_a_schedule_comes_back_from_json_as_it_was(seed: int) -> None:
    generated = generate(random.Random(seed), 2 + seed % 8)
    assert Schedule.from_json(generated.to_json()) == generated


def test_a_generated_schedule_leaves_everything_healed_and_started_at_its_end() -> None:
    for seed in range(200):
        generated = generate(random.Random(seed), 5, length_s=6.0)
        assert all(fault.at_s + fault.for_s <= 6.0 + 1e-6 for fault in generated.faults)


def test_generated_schedules_hold_every_kind_of_fault_and_start_in_order() -> None:
    kinds: set[type[Fault]] = set()
    for seed in range(100):
        faults = generate(random.Random(seed), 5).faults
        kinds |= {type(fault) for fault in faults}
        assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    assert kinds == set(get_args(AnyFault))


def test_generated_schedules_tear_some_saves_and_not_all() -> None:
    crashes = [fault for seed in range(20) for fault in generate(random.Random(seed), 5).faults if type(fault) is Crash]
    assert {crash.torn for crash in crashes} == {True, False}


def test_any_subset_of_a_schedules_faults_is_a_schedule() -> None:
    generated = generate(random.Random(3), 5)
    half = generated.faults[::2]
    kept = Schedule(nodes=generated.nodes, members=generated.members, length_s=generated.length_s, faults=half)
    assert kept.faults == half


def test_a_cut_without_targets_is_from_everybody_else_both_ways() -> None:
    cut = Cut(at_s=0, sources=("leader",))
    assert cut.links(NODES, as_is) == {Link("n2", "n1"), Link("n2", "n3"), Link("n1", "n2"), Link("n3", "n2")}


def test_a_deaf_node_still_speaks() -> None:
    cut = Cut(at_s=0, targets=("n1",), both_ways=False)
    assert cut.links(NODES, as_is) == {Link("n2", "n1"), Link("n3", "n1")}


def test_a_role_that_turns_out_to_be_on_both_sides_is_not_cut_from_itself() -> None:
    cut = Cut(at_s=0, sources=("leader",), targets=("n2", "n3"), both_ways=False)
    assert cut.links(NODES, as_is) == {Link("n2", "n3")}


def test_a_fault_on_an_unknown_node_is_refused_by_name() -> None:
    with pytest.raises(ScheduleError, match=r"fault 0 \(Crash\) names n9; there are n1, n2, n3, leader"):
        schedule(Crash(at_s=0, node="n9"))


def test_a_fault_that_outlasts_the_schedule_is_refused() -> None:
    with pytest.raises(ScheduleError, match="lasts until 7 s, the schedule 5 s"):
        schedule(Crash(at_s=3, for_s=4, node="n1"))


def test_a_cut_of_a_node_from_itself_is_refused() -> None:
    with pytest.raises(ScheduleError, match="both sides"):
        schedule(Cut(at_s=0, sources=("n1",), targets=("n1", "n2")))
    with pytest.raises(ScheduleError, match="sources or targets"):
        schedule(Cut(at_s=0))


def test_an_operator_may_not_send_anybody_to_an_address_of_the_files_own() -> None:
    with pytest.raises(ScheduleError, match=r"fault 0 .* says where n2 lives"):
        schedule(Ask(at_s=0, node="leader", what=Join("n2", "192.0.2.1:7000")))


def test_a_node_has_one_name_and_not_a_roles() -> None:
    with pytest.raises(ScheduleError, match="each name once"):
        Schedule(nodes=("leader", "n1"), members=("n1",), length_s=1, faults=())
    with pytest.raises(ScheduleError, match="members"):
        Schedule(nodes=NODES, members=("n4",), length_s=1, faults=())


@pytest.mark.parametrize(
    ("json", "words"),
    [
        (b"{", "truncated"),
        (b'{"nodes": ["n1"], "members": ["n1"], "length_s": 1, "faults": [], "version": 2}', "version 2"),
        (b'{"nodes": ["n1"], "members": ["n1"], "length_s": 1, "faults": [{"fault": "Flood"}]}', "Flood"),
        (b'{"nodes": ["n1"], "members": ["n1"], "length_s": -1, "faults": []}', "length_s"),
        (b'{"nodes": ["n1"], "members": ["n1"], "length_s": 1, "faults": [], "seed": 1}', "seed"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(json: bytes, words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        Schedule.from_json(json)


@pytest.mark.parametrize("seed", range(20))
def test_in_a_long_schedule_the_leader_hears_nobody_for_longer_than_a_majority_waits_for_another(seed: int) -> None:
    faults = generate(random.Random(seed), 5, length_s=LONG_S).faults
    assert any(isinstance(fault, Cut) and fault.targets == ("leader",) and fault.for_s > 10 for fault in faults)
