"""Histories whose verdict is known beforehand: checkers say the same of them, and so does trying everything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.checkers import check_linearizable
from bench.measure.histories import MUTATIONS, Shape, mutated, of_registers
from bench.models import register
from bench.verdict import Verdict
from tests.unit.bench.linearizing import compared

SEEDS = st.integers(0, 2**32)
SMALL, LARGE = Shape(7, 3, 0.2), Shape(170, 5, 0.05)


@given(SEEDS, st.sampled_from([0.0, 0.1, 0.5]), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_what_registers_did_is_linearizable(seed: int, crashes: float, keys: int) -> None:
    found = check_linearizable(of_registers(seed, Shape(100, 5, crashes), keys), register)
    assert found.verdict is Verdict.VALID, found


@pytest.mark.parametrize("name", MUTATIONS)
@given(seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_with_one_thing_different_a_history_has_the_verdict_that_is_due(name: str, seed: int) -> None:
    calls = mutated(of_registers(seed, LARGE), name, seed)
    if calls is not None:
        assert check_linearizable(calls, register).verdict is MUTATIONS[name][1]


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_due_is_what_trying_everything_says(name: str) -> None:
    seen = 0
    for seed in range(300):
        calls = mutated(of_registers(seed, SMALL, values=2), name, seed)
        if calls is not None:
            assert compared("register", calls) is (MUTATIONS[name][1] is Verdict.VALID), calls
            seen += 1
    assert seen > 20


def test_a_seed_makes_the_same_history_each_time() -> None:
    assert of_registers(7, LARGE) == of_registers(7, LARGE) != of_registers(8, LARGE)
