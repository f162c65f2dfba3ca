from __future__ import annotations

import inspect
import itertools
import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType

import pytest
from click import testing

from bench import cases
from bench.case import Case, Settings
from bench.checkers import CLIENTS
from bench.cli import cli
from bench.commands import exploring
from bench.operations import Cas, Delete, Leave, Outcome, Put, SetAll, Writing
from bench.player import Player
from bench.schedule import (
    Ask,
    Clients,
    Crash,
    Cut,
    Delay,
    Fault,
    FullDisk,
    JoinAstray,
    Limit,
    Move,
    Pause,
    Schedule,
    SlowDisk,
)
from bench.search.explore import Walk, case_of, explore, play, plus, walk
from bench.simulated import surface
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.flaws import flaw_names
from bench.simulated.invariants import Invariants
from bench.simulated.world import VirtualWorld
from bench.workload import WORKLOADS
from faults.links import Link, Mode
from node.machine.kv import Command, Decision, KeyValueStore, Result, Session
from node.machine.state_machine import Frozen, StateMachine
from node.raft import Role
from node.server import Read

NODES = ("n1", "n2", "n3")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is stored there."""
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))


def explored(arguments: Collection[str]) -> testing.Result:
    return testing.CliRunner().invoke(cli, ["explore", *arguments])


class Told(Invariants):
    """Remembers who was up and what was clear, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, frozenset[str], frozenset[tuple[str, str]]]] = []

    def topology(self, running: Collection[str], clear: Mapping[tuple[str, str], float], at_s: float) -> None:
        super().topology(running, clear, at_s)
        self.seen.append((at_s, frozenset(running), frozenset(clear)))

    def at(self, at_s: float) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
        return next((running, clear) for since_s, running, clear in reversed(self.seen) if since_s <= at_s)


def played(*faults: Fault, length_s: float = 4.0) -> tuple[VirtualWorld, Told]:
    watcher = Told()
    schedule = Schedule(nodes=NODES, members=NODES, length_s=length_s, faults=faults)  # type: ignore[arg-type]
    case = Case(schedule=schedule, settings=Settings(start_s=0.0, trailing_logs=1024), seed=1)
    cluster = SimulatedCluster(case.plan, observer=watcher)
    with cluster.opened():
        Player(cluster, case).play()
    return cluster.world, watcher


def test_a_crash_lasts_as_long_as_it_says_and_a_pause_too() -> None:
    _, watcher = played(Crash(at_s=1, for_s=1, node="n2"), Pause(at_s=2.5, for_s=1, node="n3"))
    assert [watcher.at(at_s)[0] for at_s in (0.9, 1.5, 2.2, 3.0, 3.6)] == [
        {"n1", "n2", "n3"},
        {"n1", "n3"},
        {"n1", "n2", "n3"},
        {"n1", "n2"},
        {"n1", "n2", "n3"},
    ]


def test_a_torn_crash_comes_in_the_middle_of_a_save_or_not_at_all() -> None:
    _, watcher = played(Crash(at_s=1, for_s=1, node="n2", torn=True), Clients(at_s=1.5, for_s=2, number=4))
    assert ["n2" in watcher.at(at_s)[0] for at_s in (1.4, 1.9, 2.1)] == [True, False, True]
    _, watcher = played(Crash(at_s=1, for_s=1, node="n2", torn=True), Clients(at_s=2, for_s=2, number=4))
    assert all("n2" in running for at_s, running, _ in watcher.seen if at_s > 0)


def test_a_server_that_is_down_from_the_beginning_starts_late() -> None:
    _, watcher = played(Crash(at_s=0, for_s=0.5, node="n1"), Crash(at_s=0, for_s=0.7, node="n2"))
    assert [watcher.at(at_s)[0] for at_s in (0.4, 0.6, 0.8)] == [{"n3"}, {"n1", "n3"}, {"n1", "n2", "n3"}]


@pytest.mark.parametrize("torn", [True, False])
def test_a_founder_that_falls_before_anybody_has_heard_of_the_cluster_founds_it_all_the_same(torn: bool) -> None:
    world, watcher = played(Crash(at_s=0.0 if torn else 0.0001, for_s=1, node="n1", torn=torn))
    assert watcher.at(0.5)[0] == {"n2", "n3"}
    assert addresses(world) == ["n1:7000", "n2:7000", "n3:7000"]


def test_a_link_that_another_fault_is_still_on_keeps_that() -> None:
    world, watcher = played(
        Cut(at_s=1, for_s=2, sources=("n1",), targets=("n2",), both_ways=False),
        Delay(at_s=1.5, for_s=0.5, sources=("n1",), latency_ms=100),
    )
    assert ("n1", "n2") not in watcher.at(2.5)[1], "the delay is over, the cut is not"
    assert ("n1", "n3") not in watcher.at(1.7)[1]
    assert ("n1", "n3") in watcher.at(2.5)[1]
    assert all(str(state) == "up" for state in world.network.state().values())


def test_a_link_is_limited_as_long_as_it_says_also_when_a_delay_on_it_is_over_before() -> None:
    limit = Limit(at_s=1, for_s=2, sources=("n1",), targets=("n2",), both_ways=False, rate_kib_s=4)
    world, watcher = played(limit, Delay(at_s=1.5, for_s=0.5, sources=("n1",), latency_ms=100))
    assert [("n1", "n2") in watcher.at(at_s)[1] for at_s in (0.9, 2.5, 3.1)] == [True, False, True]
    assert all(str(state) == "up" for state in world.network.state().values())


def test_a_fault_on_the_leader_meets_whoever_leads_when_it_begins() -> None:
    _, watcher = played(Crash(at_s=1, for_s=3, node="leader"), Crash(at_s=3.9, for_s=0.05, node="leader"))
    first = {"n1", "n2", "n3"} - watcher.at(1.5)[0]
    assert first == {"n1"}, "who founded the cluster leads it"
    second = {"n1", "n2", "n3"} - watcher.at(3.92)[0] - first
    assert len(second) == 1


def test_a_server_with_a_slow_disk_is_slow_as_long_as_it_says() -> None:
    world, _ = played(Clients(at_s=0, for_s=4, number=2), SlowDisk(at_s=1, for_s=1, node="n1", latency_ms=300))
    assert world.nodes["n1"].disk.extra_s == 0
    assert any(operation.outcome == "ok" for operation in world.history)


def test_a_server_whose_disk_is_full_stops_at_its_next_save_and_is_started_when_there_is_room() -> None:
    _, watcher = played(Clients(at_s=0, for_s=4, number=2), FullDisk(at_s=1, for_s=1.5, node="n2"))
    assert [watcher.at(at_s)[0] for at_s in (0.9, 2.4, 2.6)] == [{"n1", "n2", "n3"}, {"n1", "n3"}, {"n1", "n2", "n3"}]


@pytest.mark.parametrize("first", [Crash(at_s=1, for_s=2, node="n2"), FullDisk(at_s=1, for_s=2, node="n2")])
def test_a_server_that_two_faults_keep_down_is_up_when_both_are_over(first: Fault) -> None:
    second = type(first)(at_s=1.5, for_s=2, node="n2")  # type: ignore[call-arg]
    _, watcher = played(Clients(at_s=0, for_s=4, number=4), first, second)
    assert ["n2" in watcher.at(at_s)[0] for at_s in (2.9, 3.2, 3.6)] == [False, False, True]


def addresses(world: VirtualWorld) -> list[str]:
    rafts = [node.process.raft for node in world.nodes.values() if node.process]
    (leader,) = [raft for raft in rafts if raft.role is Role.LEADER]
    return [server.address for server in leader.configuration.servers]


@pytest.mark.parametrize("for_s", [2, 0])
def test_who_moves_is_a_member_under_its_new_address_in_the_end_whether_or_not_that_was_in_time(for_s: float) -> None:
    world, _ = played(Move(at_s=1, for_s=for_s, node="n3"))
    assert addresses(world) == ["n1:7000", "n2:7000", "n3:7001"]


def test_who_moves_is_out_of_reach_under_its_former_address_until_the_fault_is_over() -> None:
    faults = (Crash(at_s=1, for_s=8, node="n1"), Move(at_s=1, for_s=4, node="n2"))
    world, _ = played(Clients(at_s=0, for_s=10, number=2), *faults, length_s=10.0)
    told_s = [o.completed_s for o in world.history if isinstance(o.asked, Put) and o.outcome is Outcome.OK]
    assert not [at_s for at_s in told_s if 1 < at_s < 5], "the two that are up do not both hear one another"
    assert [at_s for at_s in told_s if 5 < at_s < 9]
    assert addresses(world) == ["n1:7000", "n2:7001", "n3:7000"]


def test_who_was_brought_in_under_a_wrong_address_is_there_under_the_right_one_in_the_end() -> None:
    world, _ = played(JoinAstray(at_s=1, for_s=1, node="n3"))
    assert addresses(world) == ["n1:7000", "n2:7000", "n3:7000"]


def test_who_leaves_is_gone_in_the_end() -> None:
    world, _ = played(Ask(at_s=1, for_s=2, node="leader", what=Leave("n3")))
    rafts = [world.nodes[name].process.raft for name in NODES if world.nodes[name].process]  # type: ignore[union-attr]
    (leader,) = [raft for raft in rafts if raft.role is Role.LEADER]
    assert leader.configuration.voters == ("n1", "n2")


def test_the_core_keeps_its_promises_under_a_few_schedules() -> None:
    assert walk(range(3), 5).violation is None
    assert walk(range(3), 3).violation is None


@pytest.mark.parametrize(
    ("flaw", "invariant"),
    [
        ("heed_every_candidate", "candidates_disturb_nobody"),
        ("forget_vote", "what_is_believed_is_durable"),
        ("commit_old_term", "only_the_leaders_term_is_counted"),
        ("stuck_terms", "all_agree_in_the_end"),
        ("unconfirmed_reads", "clients_are_served_in_the_end"),
    ],
)
def test_a_flaw_is_caught_by_the_promise_it_breaks(flaw: str, invariant: str) -> None:
    violation = walk(range(8), 5, flaw).violation
    assert violation is not None
    assert violation.promise == invariant


def test_a_state_machine_that_comes_back_empty_is_caught_although_its_chain_of_entries_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restore = StateMachine.restore

    def forget(machine: StateMachine, frozen: Frozen) -> None:
        restore(machine, frozen)
        machine.store.replace(KeyValueStore())

    monkeypatch.setattr(StateMachine, "restore", forget)
    violation = walk(range(8), 5).violation
    assert violation is not None
    assert violation.promise == "contents_agree"


def test_a_store_to_which_every_retry_is_a_new_write_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = KeyValueStore.apply

    def ignore_sessions(store: KeyValueStore, index: int, command: Command) -> Result:
        return apply(store, index, Command(command.operation))

    monkeypatch.setattr(KeyValueStore, "apply", ignore_sessions)
    violation = walk(range(24), 5).violation
    assert violation is not None
    assert violation.promise == "writes_take_effect_once"


def test_a_store_to_which_an_older_write_of_a_client_is_a_new_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client asked can come a second time, after what it asked next."""
    apply = KeyValueStore.apply

    def forget_order(store: KeyValueStore, index: int, command: Command) -> Result:
        told = apply(store, index, command)
        if told.status is Decision.SUPERSEDED:
            return apply(store, index, Command(command.operation))
        return told

    monkeypatch.setattr(KeyValueStore, "apply", forget_order)
    violation = walk(range(40), 5).violation
    assert violation is not None
    assert violation.promise == "writes_take_effect_once"


def test_a_store_that_has_lost_its_sessions_after_a_snapshot_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """All servers write the same snapshot, so what they hold agrees; what they answer to a retry does not."""
    no_sessions: dict[str, Session] = {}
    monkeypatch.setattr(KeyValueStore, "sessions", lambda store: no_sessions.items())
    violation = walk(range(60), 5).violation
    assert violation is not None
    assert violation.promise in ("commands_have_one_result", "writes_take_effect_once")


def test_clients_ask_again_for_every_kind_of_write_until_it_is_decided() -> None:
    crashes = [Crash(at_s=at_s, for_s=0.5, node="leader") for at_s in range(2, 40, 4)]
    world, _ = played(Clients(at_s=0, for_s=40, number=5), *crashes, length_s=40)
    asked_again = {type(write.asked) for write in world.history if write.tries and write.decided}
    assert asked_again >= {Put, Cas, Delete, SetAll}
    writes = [(one, one.asked.client_id, one.asked.sequence) for one in world.history if isinstance(one.asked, Writing)]
    latest = {client_id: sequence for _, client_id, sequence in writes}
    assert all(write.decided for write, client_id, sequence in writes if sequence != latest[client_id])


@pytest.mark.parametrize(("error", "said"), [(AssertionError(), ""), (ValueError("no such term"), ": no such term")])
def test_what_a_node_died_of_is_told_with_its_words_if_it_has_any(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def die(store: KeyValueStore, index: int, command: Command) -> Result:
        raise error

    # As if it stood there.
    there = die.__code__.replace(co_filename=inspect.getfile(KeyValueStore))
    monkeypatch.setattr(KeyValueStore, "apply", FunctionType(there, {}, closure=die.__closure__))
    violation = walk(range(1), 5).violation
    assert violation is not None
    died = f"{type(error).__name__} in die, line {die.__code__.co_firstlineno + 1}{said}"
    assert (violation.promise, violation.words) == ("nothing_fails", died)


def test_what_the_bench_itself_gets_wrong_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(world: VirtualWorld, node: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(VirtualWorld, "break_off", mistaken)
    with pytest.raises(ZeroDivisionError):
        walk(range(8), 5)


def test_a_seed_gives_the_same_violation_again_and_every_word_of_it() -> None:
    case = case_of(3, 5, "commit_past_prev")
    assert play(case).violation == play(case).violation


def test_what_is_told_first_is_the_lowest_seed_however_many_processes_walk() -> None:
    alone, together = (list(explore([range(24)], 5, "commit_past_prev", jobs)) for jobs in (1, 2))
    assert [done.violation for done in alone] == [done.violation for done in together]
    assert alone[-1].violation is not None
    total = plus(alone[0], alone[-1]) if len(alone) > 1 else alone[0]
    assert total.violation == alone[-1].violation


def test_a_schedule_that_breaks_a_promise_says_which_and_how_to_see_it_again() -> None:
    result = explored(["--seeds", "8", "--jobs", "1", "--flaw", "commit_old_term", "--nodes", "5"])
    assert result.exit_code == 1
    assert "INVALID only_the_leaders_term_is_counted" in result.output
    (again,) = re.findall(r"python -m bench (play \S+)", result.output.splitlines()[-1])
    (digest,) = re.findall(r"digest (\w+)", result.output)
    once_more = testing.CliRunner().invoke(cli, shlex.split(again))
    assert once_more.exit_code == 1
    assert f"digest {digest}" in once_more.output
    assert "INVALID only_the_leaders_term_is_counted" in once_more.output


def test_schedules_can_be_asked_for_of_another_length_and_once_more() -> None:
    arguments = ["--seeds", "1", "--jobs", "1", "--length", "30"]
    valid = explored([*arguments, "--json"])
    assert 30 <= json.loads(valid.output)["virtual_s"] < 60
    flawed = explored([*arguments, "--flaw", "commit_old_term", "--json"])
    assert cases.load(Path(json.loads(flawed.output)["violation"]["file"])).schedule.length_s == 30


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        (["--seeds", "3"], [0, 1, 2]),
        (["--seeds", "3", "--first", "7"], [7, 8, 9]),
        (["--seeds", "7-9"], [7, 8, 9]),
        (["--seeds", "5,20-22"], [5, 20, 21, 22]),
    ],
)
def test_seeds_are_asked_for_by_how_many_or_by_which(
    arguments: list[str], seeds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[int] = []

    def walks(ranges: Iterable[range], *_: object, **__: object) -> Iterator[Walk]:
        for seed in itertools.chain.from_iterable(ranges):
            walked.append(seed)
            yield Walk(1, 1.0, 1.0)

    monkeypatch.setattr(exploring, "explore", walks)
    result = explored(arguments)
    assert (result.exit_code, walked) == (0, seeds), result.output


def test_what_led_to_a_violation_is_logged_in_words_and_in_the_order_in_which_it_happened() -> None:
    arguments = ["--seeds", "9", "--jobs", "1", "--json", "--flaw", "commit_past_prev", "--nodes", "5"]
    violation = json.loads(explored(arguments).output)["violation"]
    events = Path(violation["file"]).with_name("cluster.log").read_text().splitlines()
    assert [float(line.split()[0]) for line in events] == sorted(float(line.split()[0]) for line in events)
    assert any(" -> " in line for line in events)
    assert not [line for line in events if "sent_at_s" in line or "(at_s=" in line or "<Outcome" in line]


def test_the_outcome_can_be_had_as_json_with_the_schedule() -> None:
    arguments = ["--seeds", "1", "--jobs", "1", "--json"]
    valid = explored(arguments)
    assert valid.exit_code == 0
    assert json.loads(valid.output)["violation"] is None
    invalid = explored([*arguments, "--flaw", "commit_old_term"])
    violation = json.loads(invalid.output)["violation"]
    assert Case.from_json(json.dumps(violation["case"]).encode()) == case_of(0, 5, "commit_old_term")
    assert cases.load(Path(violation["file"])) == case_of(0, 5, "commit_old_term")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--flaw", "os"], "'os'"),
        (["--nodes", "1"], "from 2 to 9"),
        (["--seeds", "0"], "0 is no number of seeds"),
        (["--seeds", "9-0"], "'9-0' ends before it begins"),
        (["--seeds", "9" * 30], "a seed of more than 18 digits"),
        (["--seeds", "0-9", "--first", "3"], "--seeds 0-9 says already which is the first"),
        (["--first", "x"], "'x'"),
        (["--first", "9" * 30], "a seed of more than 18 digits"),
    ],
)
def test_what_cannot_be_explored_is_refused_with_status_2(arguments: list[str], words: str) -> None:
    result = explored(arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_every_kind_of_cut_is_over_when_the_schedule_is() -> None:
    cuts = [Cut(at_s=1, for_s=1, sources=("n1",), mode=mode) for mode in Mode]
    overlapping = list(itertools.combinations(cuts, 2))
    for pair in overlapping:
        world, _ = played(*pair)
        assert world.network.state()[Link("n1", "n2")].cut is None


def test_every_flaw_can_be_asked_for() -> None:
    assert {"forget_vote", "commit_old_term", "lease_by_receipt"} <= set(flaw_names())


# From outside


@pytest.fixture
def stale_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that answer whatever is read from what they have, be it old."""
    monkeypatch.setattr(surface, "asks_nobody", lambda question: isinstance(question, Read))


@pytest.mark.usefixtures("stale_reads")
def test_from_outside_a_node_that_reads_old_values_is_convicted_by_what_clients_were_told() -> None:
    violation = walk(range(40), 5, outside=True).violation
    assert violation is not None
    assert violation.promise in {check.__name__ for check in CLIENTS}


@pytest.mark.usefixtures("stale_reads")
def test_from_inside_it_is_convicted_as_soon_as_it_reads_them() -> None:
    violation = walk(range(40), 5).violation
    assert violation is not None
    assert violation.promise in ("reads_are_not_stale", "lease_reads_end_with_the_lease")


def test_from_outside_nobody_watches_the_core() -> None:
    """That nobody is elected who has no majority, clients cannot see; that nobody serves them, they can."""
    promised = walk(range(2), 5, "count_own_vote_twice").violation
    assert promised is not None
    assert promised.promise == "leaders_were_elected"
    seen = walk(range(2), 5, "count_own_vote_twice", outside=True).violation
    assert seen is not None
    assert seen.promise == "all_agree_in_the_end"


@pytest.mark.usefixtures("stale_reads")
def test_what_is_found_from_outside_is_stored_and_played_again_from_outside() -> None:
    found = explored(["--seeds", "40", "--outside", "--jobs", "1"])
    assert found.exit_code == 1
    (again,) = (line for line in found.output.splitlines() if "bench play" in line)
    assert again.endswith("--outside")
    assert "one_leader_per_term" not in found.output
    played_again = testing.CliRunner().invoke(cli, shlex.split(again)[3:])
    assert played_again.exit_code == 1
    first, second = (re.search("digest (.*)", result.output) for result in (found, played_again))
    assert first is not None
    assert second is not None
    assert first[1] == second[1]


def test_each_workload_and_pace_and_clients_that_retry_and_that_do_not_are_explored() -> None:
    cases = [case_of(seed, 5) for seed in range(200)]
    assert {case.workload for case in cases} == set(WORKLOADS)
    assert {case.rate_per_s for case in cases} >= {None, 10.0}
    assert {case.retries for case in cases} == {True, False}
