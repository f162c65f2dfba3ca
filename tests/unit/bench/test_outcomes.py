"""What an answer lets a client believe."""

from __future__ import annotations

import pytest

from bench.history import Outcome
from bench.scenarios import SCENARIOS, UnknownScenarioError, find
from bench.systems.konsul import REQUESTS, judge
from bench.workload import Invocation, Item


@pytest.mark.parametrize(
    ("kind", "status", "error", "outcome"),
    [
        ("put", 200, "", Outcome.OK),
        ("get", 404, "key not found", Outcome.OK),
        ("delete", 404, "key not found", Outcome.FAILED),
        ("put", 307, "not leader", Outcome.FAILED),
        ("put", 503, "no leader", Outcome.FAILED),
        ("put", 503, "overwritten", Outcome.FAILED),
        ("cas", 409, "cas mismatch", Outcome.FAILED),
        ("put", 409, "superseded", Outcome.UNKNOWN),
        ("put", 503, "leadership lost", Outcome.UNKNOWN),
        ("put", 504, "timeout", Outcome.UNKNOWN),
        ("put", 500, "internal error", Outcome.UNKNOWN),
    ],
)
def test_only_what_certainly_did_not_happen_has_failed(kind: str, status: int, error: str, outcome: Outcome) -> None:
    assert judge(kind, status, {"error": error})[0] is outcome


@pytest.mark.parametrize("kind", ["put", "cas", "batch_set", "batch_delete"])
def test_a_write_that_may_be_asked_for_again_says_whose_it_is_and_which(kind: str) -> None:
    items = (Item("k", "v", 3),)
    once = REQUESTS[kind](Invocation(kind, "k", "v", items=items)).body or {}
    again = REQUESTS[kind](Invocation(kind, "k", "v", items=items, client_id="me", sequence=4)).body
    assert again == {**once, "client_id": "me", "sequence": 4}


def test_a_delete_says_it_in_its_query() -> None:
    delete = Invocation("delete", "k", modify_index=3, client_id="a & b", sequence=4)
    assert REQUESTS["delete"](delete).path == "/kv/k?cas=3&client_id=a+%26+b&sequence=4"
    assert REQUESTS["delete"](Invocation("delete", "k")).path == "/kv/k"


def test_a_familys_name_means_all_its_members() -> None:
    assert len(find("split_brain")) == 27
    assert [scenario.name for scenario in find("kill_leader")] == ["kill_leader"]


def test_a_scenario_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownScenarioError, match="kill_leader"):
        find("kil_leader")


def test_every_scenario_promises_something_and_is_checked() -> None:
    assert all(scenario.promise and scenario.checks for scenario in SCENARIOS.values())
