"""A case is all that a run depends on, in a file that a person can edit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bench.case import LARGEST_BYTES, PROFILES, Case, CaseError, Settings, plan
from bench.operations import Leave
from bench.schedule import Ask, Clients, Crash, Noise, Schedule, SlowDisk
from bench.search.explore import case_of
from node.raft import FlowLimits, Timing

FAULTS = (
    Clients(at_s=0, for_s=5, number=2),
    Crash(at_s=1, for_s=1, node="leader", torn=True),
    SlowDisk(at_s=1, for_s=1, node="n2", latency_ms=30),
    Noise(at_s=2, for_s=1, loss=0.5),
    Ask(at_s=2, for_s=1, node="leader", what=Leave("n2")),
)
CASE = Case(
    schedule=Schedule(nodes=("n1", "n2", "n3"), members=("n1", "n2"), length_s=5, faults=FAULTS),
    settings=Settings(trailing_logs=3).of_profile("tight"),
    seed=7,
    flaw="forget_vote",
)


@pytest.mark.parametrize("case", [CASE, *(case_of(seed, 5) for seed in range(20))])
def test_a_case_comes_back_from_json_as_it_was(case: Case) -> None:
    assert Case.from_json(case.to_json()) == case


def test_a_case_has_a_line_for_each_setting_and_each_fault() -> None:
    lines = CASE.to_json().decode().splitlines()
    assert '  "trailing_logs": 3,' in lines
    assert sum('"fault":' in line for line in lines) == len(FAULTS)


PAUSE = {"fault": "Pause", "node": "n1", "at_s": 0}


def edited(change: Callable[[dict[str, Any]], None]) -> bytes:
    content = json.loads(CASE.to_json())
    change(content)
    return json.dumps(content).encode()


def test_a_case_edited_by_hand_is_the_edited_case() -> None:
    def edit(case: dict[str, Any]) -> None:
        del case["schedule"]["faults"][1]
        case["schedule"]["faults"][2]["at_s"] = 0.5
        case["schedule"]["nodes"][2] = "left-of-the-door"

    found = Case.from_json(edited(edit))
    assert found.schedule.faults == (FAULTS[0], FAULTS[2], Noise(at_s=0.5, for_s=1, loss=0.5), FAULTS[4])
    assert found.plan.nodes == ("n1", "n2", "left-of-the-door")
    assert found.plan.members == ("n1", "n2")


def set_to(value: object, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(case: Any) -> None:
        for step in path[:-1]:
            case = case[step]
        case[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (set_to("Flood", "schedule", "faults", 1, "fault"), "schedule.faults[1].fault", "Flood"),
        (set_to(-1, "schedule", "faults", 1, "at_s"), "schedule.faults[1].at_s", ">= 0.0"),
        (set_to("soon", "schedule", "faults", 1, "at_s"), "schedule.faults[1].at_s", "`float`"),
        (set_to(1, "schedule", "faults", 1, "lucky"), "schedule.faults[1]", "lucky"),
        (set_to("n9", "schedule", "faults", 1, "node"), "schedule", r"fault 1 \(Crash\) names n9"),
        (set_to("n9", "schedule", "faults", 4, "what", "node"), "schedule", r"fault 4 \(Ask\) names n9"),
        (set_to("bake", "schedule", "faults", 4, "what", "ask"), "schedule.faults[4].what.ask", "bake"),
        (set_to("../n1", "schedule", "nodes", 0), "schedule.nodes[0]", "regex"),
        (set_to("n1\n", "schedule", "nodes", 0), "schedule.nodes[0]", "regex"),
        (set_to([f"n{n}" for n in range(10)], "schedule", "nodes"), "schedule.nodes", "length"),
        (set_to(["n1", "n1"], "schedule", "members"), "schedule", "members .* each once"),
        (set_to(1e9, "schedule", "length_s"), "schedule.length_s", "86400"),
        (set_to([PAUSE] * 10_001, "schedule", "faults"), "schedule.faults", "length"),
        (set_to(0, "settings", "client_timeout_s"), "settings.client_timeout_s", "> 0"),
        (set_to(9.0, "settings", "leader_lease_timeout_s"), "settings", "must hold"),
        (set_to(1, "settings", "luck"), "settings", "luck"),
        (set_to(-1, "seed"), "seed", ">= 0"),
        (set_to(2**64, "seed"), "seed", "int"),
        (set_to(1, "luck"), "", "luck"),
        (set_to(2, "version"), "", "version 2; this program reads version 1"),
        (set_to(2, "schedule", "version"), "schedule", "version 2"),
    ],
)  # fmt: skip
def test_what_is_no_case_is_refused_with_place_and_reason(
    change: Callable[[dict[str, Any]], None], place: str, words: str
) -> None:
    with pytest.raises(CaseError, match=words) as refused:
        Case.from_json(edited(change))
    assert str(refused.value).startswith(f"at {place}: " if place else "")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b'{"flaw": "\xff"}', id="no text in a value"),
        pytest.param(b'{"\xff": 1}', id="no text in a name"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"schedule":' * 1000, id="half and deep"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b" " * LARGEST_BYTES + b"{}", id="enormous"),
    ],
)
def test_what_is_no_json_of_a_case_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(CaseError):
        Case.from_json(content)


def test_a_case_says_what_it_needs_and_goes_without_what_cannot_be_had() -> None:
    assert CASE.needs == ("torn_saves", "slow_disk", "noise", "leave")
    kept = CASE.without(frozenset(("slow_disk", "noise", "torn_saves")))
    assert kept.schedule.faults == (FAULTS[0], FAULTS[4])
    assert kept.plan == CASE.plan


def test_settings_are_by_default_what_a_node_goes_by_that_is_told_nothing() -> None:
    settings = msgspec.structs.asdict(Settings())
    for told in (Timing(), FlowLimits()):
        assert {name: settings[name] for name in vars(told)} == vars(told)


@pytest.mark.parametrize(
    ("timings", "because"),
    [
        ({"heartbeat_timeout_s": 9}, "must hold"),
        ({"leader_lease_timeout_s": 2}, "must hold"),
        ({"leader_lease_timeout_s": 0.1}, "none stays leader"),
    ],
)
def test_timings_with_which_none_can_lead_are_refused(timings: dict[str, float], because: str) -> None:
    with pytest.raises(CaseError, match=because):
        Settings(**timings)  # type: ignore[arg-type]


def test_a_profile_changes_the_timings_and_nothing_else() -> None:
    settings = Settings(trailing_logs=3)
    for name, timings in PROFILES.items():
        changed = settings.of_profile(name)
        assert (changed.heartbeat_timeout_s, changed.election_timeout_s, changed.leader_lease_timeout_s) == timings
        assert changed.trailing_logs == 3


def test_a_plan_of_some_nodes_has_the_spare_ones_beside_the_members() -> None:
    found = plan(3, spare=2, seed=4, profile="tight")
    assert found.nodes == ("n1", "n2", "n3", "n4", "n5")
    assert found.members == ("n1", "n2", "n3")
    assert (found.seed, found.settings.election_timeout_s) == (4, 0.1)
