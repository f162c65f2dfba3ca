"""Clients in the background: each asks its script's next question, and goes to another node when it is not served."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from bench.cluster import CannotError, NoSuchNodeError
from bench.operations import Operation, Question
from bench.workload import Pace, Script, Talker

Ask = Callable[[int, str, Question], Operation]


class LiveWorkers:
    """One thread for each client, which is a number and its script. `ask` resolves roles; it raises NoSuchNodeError for
    a role that no node has, and CannotError once the cluster is stopped."""

    def __init__(
        self,
        clients: Sequence[tuple[int, Script]],
        nodes: Sequence[str],
        ask: Ask,
        *,
        pace: Pace,
        rng: random.Random,
    ) -> None:
        self._ask = ask
        self._pace = pace
        self._random = rng.random
        self._talkers = [(number, Talker(script, nodes, turn)) for turn, (number, script) in enumerate(clients)]
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    @property
    def idle(self) -> bool:
        """Raises any error of a client."""
        if self._failure is not None:
            raise self._failure
        return not any(thread.is_alive() for thread in self._threads)

    def acknowledged(self) -> int:
        return sum(talker.acknowledged for _, talker in self._talkers)

    def start(self, *, at_once: bool = False) -> None:
        for number, talker in self._talkers:
            thread = threading.Thread(
                target=self._run, args=(number, talker, at_once), name=f"client-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until each has the answer to its last question, but no longer than this."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self, number: int, talker: Talker, at_once: bool) -> None:
        try:
            self._work(number, talker, at_once)
        except CannotError:
            # A scenario left this client behind, and the cluster is gone.
            return
        except BaseException as error:  # noqa: BLE001
            # Raised to the caller that waits for these clients, instead of being printed on a stderr that nobody reads.
            self._failure = error

    def _work(self, number: int, talker: Talker, at_once: bool) -> None:
        if not at_once:
            self._rest(0.0)
        # A client that starts `at_once` asks once, however soon it is stopped: many an operator gets no time at all.
        while talker.asks is not None and (at_once or not self._stopping.is_set()):
            at_once, asked_s = False, time.monotonic()
            try:
                talker.told(self._ask(number, talker.node, talker.asks))
            except NoSuchNodeError:
                talker.move_on()
            self._rest(time.monotonic() - asked_s)

    def _rest(self, asking_s: float) -> None:
        self._stopping.wait(self._pace.wait_s(asking_s, self._random()))
