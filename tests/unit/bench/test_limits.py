"""A block that runs for too long is ended, whatever it does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import pytest

from bench.limits import SIGNAL, LimitReachedError, time_limit

SHORT_S = 0.05
LONG_S = 600.0


@pytest.fixture(autouse=True)
def strikes_come_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.limits.AGAIN_S", SHORT_S)


def sleeps() -> None:
    time.sleep(LONG_S)


def turns() -> None:
    while True:
        pass


def waits_for_an_event() -> None:
    threading.Event().wait()


def waits_for_a_lock() -> None:
    lock = threading.Lock()
    with lock, lock:
        pass


def waits_for_a_thread() -> None:
    over = threading.Event()
    waiting = threading.Thread(target=over.wait, args=(LONG_S,))
    waiting.start()
    try:
        waiting.join()
    finally:
        over.set()


def goes_on_after_errors() -> None:
    while True:
        with suppress(Exception):
            sleeps()


def swallows_it_once() -> None:
    with suppress(BaseException):
        sleeps()
    sleeps()


@pytest.mark.parametrize(
    "block",
    [sleeps, turns, waits_for_an_event, waits_for_a_lock, waits_for_a_thread, goes_on_after_errors, swallows_it_once],
)
def test_a_block_that_would_not_end_is_ended(block: Callable[[], None]) -> None:
    with pytest.raises(LimitReachedError, match=r"still running after 0\.05 s"), time_limit(SHORT_S):
        block()


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    with time_limit(LONG_S):
        pass


def test_what_goes_wrong_in_time_is_told_as_it_is() -> None:
    with pytest.raises(KeyError, match="its own"), time_limit(LONG_S):
        raise KeyError("its own")


def test_a_block_that_swallows_it_and_ends_has_still_run_for_too_long() -> None:
    with pytest.raises(LimitReachedError), time_limit(SHORT_S), suppress(BaseException):
        sleeps()


@pytest.mark.parametrize("error", [ValueError("out of the way"), SystemExit(0)])
def test_what_goes_wrong_after_the_limit_is_told_as_its_consequence(error: BaseException) -> None:
    def fails_on_its_way_out() -> None:
        try:
            sleeps()
        finally:
            raise error

    with pytest.raises(LimitReachedError) as told, time_limit(SHORT_S):
        fails_on_its_way_out()
    assert told.value.__cause__ is error


def test_who_cleans_up_after_it_is_not_disturbed() -> None:
    strikes = threading.Semaphore(0)

    def cleans_up() -> None:
        handler = signal.getsignal(SIGNAL)
        assert callable(handler)

        def also_counted(number: int, frame: FrameType | None) -> None:
            strikes.release()
            handler(number, frame)

        try:
            sleeps()
        finally:
            signal.signal(SIGNAL, also_counted)
            strikes.acquire()

    with pytest.raises(LimitReachedError) as told, time_limit(SHORT_S):
        cleans_up()
    assert told.value.__context__ is None, "one strike, and no other after it"


def test_afterwards_nothing_watches_any_more() -> None:
    before = (signal.getsignal(SIGNAL), set(threading.enumerate()))
    with pytest.raises(LimitReachedError), time_limit(SHORT_S):
        sleeps()
    assert (signal.getsignal(SIGNAL), set(threading.enumerate())) == before


def test_outside_of_the_main_thread_it_does_nothing() -> None:
    told: list[str] = []

    def play() -> None:
        with time_limit(0.001):
            threading.Event().wait(SHORT_S)
        told.append("to its end")

    beside = threading.Thread(target=play)
    beside.start()
    beside.join()
    assert told == ["to its end"]
