"""What the bench takes an answer of the node's for, which it knows as it would know any other system's."""

from __future__ import annotations

import json

import pytest

from bench.operations import DECISIONS, Outcome, Put
from bench.systems.konsul_http import told
from node.questions import MEANINGS, NOT_LEADER, REFUSALS, Meaning


@pytest.mark.parametrize("meaning", [*MEANINGS.values(), *REFUSALS.values(), NOT_LEADER], ids=lambda found: found.name)
def test_what_the_node_calls_certain_has_failed_and_what_it_does_not_is_unknown(meaning: Meaning) -> None:
    heard = told(Put("k", "v"), meaning.status, json.dumps({"error": meaning.name, "message": "why"}).encode())
    assert heard.outcome is (Outcome.FAILED if meaning.certain else Outcome.UNKNOWN)
    assert heard.reason == meaning.name


def test_what_a_state_machine_refuses_with_is_a_decision() -> None:
    assert {meaning.name for meaning in REFUSALS.values() if meaning.certain} == set(DECISIONS)
