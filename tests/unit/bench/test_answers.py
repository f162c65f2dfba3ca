"""What the bench takes an answer of the node's for, which it knows as it would know any other system's."""

from __future__ import annotations

import pytest

from bench.history import DECISIONS, Outcome
from bench.systems.konsul import judge
from node.questions import MEANINGS, NOT_LEADER, REFUSALS, Meaning


@pytest.mark.parametrize("meaning", [*MEANINGS.values(), *REFUSALS.values(), NOT_LEADER], ids=lambda found: found.name)
def test_what_the_node_calls_certain_has_failed_and_what_it_does_not_is_unknown(meaning: Meaning) -> None:
    outcome, _ = judge("put", meaning.status, {"error": meaning.name})
    assert outcome is (Outcome.FAILED if meaning.certain else Outcome.UNKNOWN)


def test_what_a_state_machine_refuses_with_is_a_decision() -> None:
    assert {meaning.name for meaning in REFUSALS.values() if meaning.certain} == set(DECISIONS)
