"""What several faults come to together, and what is left when one of them ends."""

from __future__ import annotations

import itertools

import pytest

from faults.lasting import Change, Lasting, total, with_also, without, without_kinds
from faults.links import UP, LinkState, Mode

ONE = LinkState(cut=Mode.HOLD, latency_ms=40, jitter_ms=5, rate_kib_s=64, loss=0.5, duplication=0.1)
OTHER = LinkState(cut=Mode.REFUSE, latency_ms=2, jitter_ms=1, rate_kib_s=16, loss=0.5, reordering=0.2)


def lasting(*faults: Lasting[LinkState]) -> tuple[Lasting[LinkState], ...]:
    """These, begun one after the other."""
    found: tuple[Lasting[LinkState], ...] = ()
    for fault in faults:
        found = with_also(fault)(found)
    return found


def late(latency_ms: int, *, by_command: bool = False) -> Lasting[LinkState]:
    return Lasting("delay", LinkState(latency_ms=latency_ms), by_command)


def test_latencies_and_jitters_add() -> None:
    assert (ONE + OTHER).latency_ms == 42
    assert (ONE + OTHER).jitter_ms == 6


def test_the_narrowest_limit_is_in_force() -> None:
    assert (ONE + OTHER).rate_kib_s == 16
    assert (ONE + UP).rate_kib_s == 64


@pytest.mark.parametrize(
    ("one", "other", "in_force"),
    [
        (None, Mode.HOLD, Mode.HOLD),
        (Mode.HOLD, Mode.BLACKHOLE, Mode.BLACKHOLE),
        (Mode.HOLD, Mode.REFUSE, Mode.REFUSE),
        (Mode.BLACKHOLE, Mode.REFUSE, Mode.REFUSE),
    ],
)
def test_the_strictest_cut_is_in_force(one: Mode | None, other: Mode, in_force: Mode) -> None:
    assert (LinkState(cut=one) + LinkState(cut=other)).cut is in_force


def test_a_message_meets_each_noise_by_itself() -> None:
    both = ONE + OTHER
    assert (both.loss, both.duplication, both.reordering) == (0.75, 0.1, 0.2)


def test_the_order_of_faults_on_a_link_does_not_matter() -> None:
    states = [ONE, OTHER, LinkState(loss=0.3), LinkState(cut=Mode.BLACKHOLE, latency_ms=7)]
    assert all(one + other == other + one for one, other in itertools.combinations(states, 2))


def test_nothing_is_added_by_nothing() -> None:
    assert ONE + UP == UP + ONE == ONE
    assert total((), UP) == UP


def test_of_two_faults_that_do_the_same_one_ends_alone() -> None:
    first, second = late(40), late(40)
    for over in (first, second):
        assert total(without(over)(lasting(first, second)), UP) == LinkState(latency_ms=40)


def test_a_fault_that_is_over_ends_once() -> None:
    first, second = late(40), late(2)
    left = without(first)(lasting(first, second))
    assert without(first)(left) == left == (second,)


def test_a_command_takes_the_place_of_the_former_of_its_kind_and_of_nothing_else() -> None:
    cut = Lasting("cut", LinkState(cut=Mode.HOLD), by_command=True)
    block, former, newer = late(1), late(40, by_command=True), late(2, by_command=True)
    assert lasting(block, former, cut, newer) == (block, cut, newer)


def test_a_kind_ends_whoever_began_it_and_the_others_stay() -> None:
    cut = Lasting("cut", LinkState(cut=Mode.HOLD))
    no_delay: Change[LinkState] = without_kinds(["delay"])
    assert no_delay(lasting(late(1), cut, late(2, by_command=True))) == (cut,)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"latency_ms": -1}, "a delay cannot be negative"),
        ({"jitter_ms": -1}, "a delay cannot be negative"),
        ({"rate_kib_s": 0}, "cut with mode hold"),
        ({"loss": 1.5}, r"1\.5 is no probability"),
    ],
)
def test_what_nothing_can_do_to_a_link_is_refused(state: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LinkState(**state)  # type: ignore[arg-type]


def test_how_late_a_state_makes_messages_at_most_can_be_read_in_its_words() -> None:
    assert LinkState.latest_s(str(ONE)) == 0.045
    assert LinkState.latest_s(str(LinkState(latency_ms=200))) == 0.2
    assert LinkState.latest_s(str(UP)) == LinkState.latest_s(str(LinkState(rate_kib_s=8))) == 0
