"""The driver alone. The rounds are laid out beforehand, and what it does about them is written down in its order.

With a server that decides and a disk that stores, the same driver is in `test_driver`.
"""

from __future__ import annotations

import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import msgspec
import pytest

from node import wire
from node.disk.storage import Storage
from node.driver import ROWS_PER_ROUND, Driver
from node.errors import LeadershipLostError, StoppingError
from node.machine.state_machine import Frozen, StateMachine
from node.questions import Answer
from node.raft import (
    Configuration,
    Effects,
    Entry,
    EntryKind,
    FlowLimits,
    HardState,
    Log,
    PreVote,
    Raft,
    Snapshot,
    SnapshotMeta,
    Timing,
    Transition,
)
from node.raft.effects import NOTHING
from node.raft.messages import AnyMessage
from node.raft.snapshot import Data
from node.records import Stopped
from node.server import (
    Asked,
    Done,
    Found,
    Hint,
    Item,
    Read,
    Server,
    SnapshotDraft,
    SnapshotPolicy,
    SnapshotWritten,
    Stop,
)
from node.trace import Trace
from node.transport import Transport

WAIT_S = 20.0
READ = Read(("k",))
CONFIGURATION = Configuration.first([("n1", "127.0.0.1:1"), ("n2", "127.0.0.1:2")])
META = SnapshotMeta(7, 3, CONFIGURATION, 1)
HERE = Snapshot(META, b"in memory")
STORED = Snapshot(META, b"in the file")
VOTE = HardState(3, "n2")
ENTRIES = (Entry(1, 3, EntryKind.NOOP, b""),)
LINE = Stopped(at_s=0.0, term=3)
FALLBACK_INDEX = 5


def message(recipient: str) -> PreVote:
    return PreVote(sender="n1", recipient=recipient, term=1, next_term=2, last_log_index=0, last_log_term=0)


class Round(NamedTuple):
    """What the server is to say of one."""

    effects: Effects = NOTHING
    trace: Sequence[Transition] = ()
    messages: Sequence[AnyMessage] = ()
    draft: SnapshotDraft | None = None
    first_kept: int = 0
    said: Sequence[str] = ()
    waited_s: Sequence[float] = ()
    error: Exception | None = None
    """In the place of each answer."""
    answers: bool = True
    """Whether who asks in it is answered in it, and a server told to stop ends with it."""
    deadline: float = math.inf


class Record:
    """What is done, in order, each with the term that the node says it is in: it is that of the last round published.
    What stands in `failing` fails."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.failing: dict[str, Exception] = {}
        self.opens = ""
        """What lets all go that is held."""
        self.reached: dict[str, threading.Event] = {}
        self.may_go_on: dict[str, threading.Event] = {}
        self.published: Callable[[], int] = lambda: 0

    def note(self, what: str) -> None:
        if what == self.opens:
            self.let_all_go()
        if what in self.reached:
            self.reached[what].set()
            assert self.may_go_on[what].wait(WAIT_S)
        self.events.append((what, self.published()))
        if what in self.failing:
            raise self.failing[what]

    def hold(self, what: str) -> None:
        """Whoever is about to do it waits until it is let go."""
        self.reached[what], self.may_go_on[what] = threading.Event(), threading.Event()

    def wait_for(self, what: str) -> None:
        assert self.reached[what].wait(WAIT_S)

    def let_all_go(self) -> None:
        for waiting in self.may_go_on.values():
            waiting.set()


class Script(Server):
    """In the place of the server: plays the rounds, and further ones in which nothing happens but answers.

    Each round is of the next term. The answer to a question is the question.
    """

    def __init__(self, record: Record, rounds: Iterable[Round], snapshot_index: int) -> None:
        core = Raft(
            "n1",
            log=Log(),
            hard_state=HardState(),
            timing=Timing(),
            limits=FlowLimits(),
            rng=random.Random(1),
            now=0.0,
        )
        super().__init__(core, StateMachine(), policy=SnapshotPolicy(), process=1, now=0.0)
        self.status = msgspec.structs.replace(self.status, snapshot_index=snapshot_index)
        self.told: queue.SimpleQueue[tuple[Item, ...]] = queue.SimpleQueue()
        self.stored: list[Snapshot | None] = []
        self._record = record
        self._rounds = iter(rounds)
        self._round = Round()
        self._waiting: list[Future[Answer]] = []
        self._stopping = False

    def step(self, items: Iterable[Item], now: float) -> Effects:
        self._record.note("step")
        taken = tuple(items)
        self.told.put(taken)
        self._round = next(self._rounds, Round())
        self._waiting += [item.to for item in taken if isinstance(item, Asked)]
        self._stopping = self._stopping or any(isinstance(item, Stop) for item in taken)
        self.deadline = self._round.deadline
        return self._round.effects

    def saved(self, now: float, stored: Snapshot | None = None) -> Done:
        self._record.note("saved")
        self.stored.append(stored)
        term = self.status.term + 1
        self.status = msgspec.structs.replace(self.status, term=term, cluster_id=f"as known in term {term}")
        played = self._round
        return Done(
            trace=played.trace,
            status=self.status,
            messages=played.messages,
            addresses={"n2": "127.0.0.1:2"},
            answers=self._answers() if played.answers else (),
            draft=played.draft,
            first_kept=played.first_kept,
            said=played.said,
            waited_s=played.waited_s,
            ended=played.answers and self._stopping,
        )

    def give_up(self) -> list[Answer]:
        self._record.note("give up")
        self.status = msgspec.structs.replace(self.status, ended=True)
        return [answer._replace(value=None, error=LeadershipLostError()) for answer in self._answers()]

    def _answers(self) -> list[Answer]:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.add_done_callback(lambda _: self._record.note("answer"))
        return [Answer(future, READ, self._round.error) for future in waiting]


class Disk(Storage):
    """In the place of the disk; `portions` is how often there is more to be let go."""

    def __init__(self, record: Record, portions: int) -> None:
        self.saves: list[tuple[HardState | None, Sequence[Entry]]] = []
        self.installed: list[tuple[HardState | None, Snapshot, Sequence[Entry]]] = []
        self.written: list[tuple[SnapshotMeta, bytes]] = []
        self.let_go: list[tuple[int, int]] = []
        self._record = record
        self._portions = portions

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self._record.note("save")
        self.saves.append((hard_state, entries))

    def install(self, hard_state: HardState | None, snapshot: Snapshot, entries: Sequence[Entry]) -> Snapshot:
        self._record.note("install")
        self.installed.append((hard_state, snapshot, entries))
        return STORED

    def write_snapshot(self, meta: SnapshotMeta, data: Iterable[Data]) -> Snapshot:
        self._record.note("write snapshot")
        self.written.append((meta, b"".join(data)))
        return STORED

    def keep_snapshot(self, snapshot: Snapshot) -> int:
        assert snapshot is STORED
        self._record.note("keep snapshot")
        return FALLBACK_INDEX

    def compact(self, first_kept: int, *, at_most: int) -> bool:
        self._record.note("let go")
        self.let_go.append((first_kept, at_most))
        self._portions -= 1
        return self._portions >= 0


class Lines(Trace):
    def __init__(self, record: Record) -> None:
        super().__init__(None)
        self._record = record

    def write(self, records: Iterable[Transition]) -> None:
        for _ in records:
            self._record.note("trace")


class Network(Transport):
    """In the place of the network."""

    def __init__(
        self,
        record: Record,
        envelope: Callable[[Sequence[AnyMessage]], wire.Envelope],
        hint: Callable[[str], None],
    ) -> None:
        super().__init__(envelope, hint, dial={}, settled_s=1.0)
        self.envelope, self.hint = envelope, hint
        self.sent: list[tuple[AnyMessage, str]] = []
        self._record = record

    def send(self, message: AnyMessage, address: str) -> None:
        self._record.note("send")
        self.sent.append((message, address))

    def close(self) -> None:
        self._record.note("close")


class Played:
    """A driver and all that it drives; what it has done by the time it has stopped."""

    def __init__(self, rounds: Iterable[Round], portions: int, snapshot_index: int) -> None:
        self.record = Record()
        self.failed = threading.Event()
        self.server = Script(self.record, rounds, snapshot_index)
        self.disk = Disk(self.record, portions)
        self.driver = Driver(
            self.server,
            storage=self.disk,
            outcomes=dict,
            trace=Lines(self.record),
            raft_address="127.0.0.1:1",
            http_address="127.0.0.1:8500",
            transport=self._connected,
            on_failure=self._on_failure,
        )
        self.record.published = lambda: self.driver.status.term

    def _on_failure(self) -> None:
        self.record.note(f"failed: {self.driver.failed}")
        self.failed.set()

    def _connected(
        self, envelope: Callable[[Sequence[AnyMessage]], wire.Envelope], hint: Callable[[str], None]
    ) -> Network:
        self.network = Network(self.record, envelope, hint)
        return self.network

    def start(self, *, failing: str = "", error: Exception | None = None, held: str = "") -> Played:
        """Whoever does what is `failing` fails, and whoever does what is `held` waits until it is let go."""
        if failing:
            self.record.failing[failing] = error or OSError("disk I/O error")
        if held:
            self.record.hold(held)
        self.driver.start()
        return self

    def ask(self) -> Answer:
        return self.driver.ask(READ).result(WAIT_S)

    def wait_for_the_end(self) -> None:
        """Of a driver that fails."""
        assert self.failed.wait(WAIT_S)

    def told(self) -> tuple[Item, ...]:
        """What the server was told in the next round."""
        return self.server.told.get(timeout=WAIT_S)

    def done_from(self, what: str) -> list[tuple[str, int]]:
        """Everything from the first time on that this was done, once the driver has stopped."""
        self.driver.stop()
        events = self.record.events
        return events[[name for name, _ in events].index(what) :]

    def counted(self, sample: str, **labels: str) -> float | None:
        return self.driver.meters.registry.get_sample_value(f"konsul_raft_{sample}", {"node_id": "n1", **labels})


LayOut = Callable[..., Played]


@pytest.fixture
def lay_out() -> Iterator[LayOut]:
    """Lays out rounds, to be played once they are started; they are over when the test is."""
    laid: list[Played] = []

    def begin(*rounds: Round, portions: int = 0, snapshot_index: int = 0) -> Played:
        laid.append(Played(rounds, portions, snapshot_index))
        return laid[-1]

    yield begin
    for played in laid:
        played.record.let_all_go()
        played.driver.stop()


def saving(hard_state: HardState | None, entries: tuple[Entry, ...] = (), snapshot: Snapshot | None = None) -> Effects:
    return msgspec.structs.replace(NOTHING, hard_state=hard_state, entries=entries, snapshot=snapshot)


FULL = Round(saving(VOTE, ENTRIES), trace=(LINE,), messages=(message("n2"), message("n2")), first_kept=2)


def test_a_round_is_saved_then_written_down_then_published_then_sent_then_answered(lay_out: LayOut) -> None:
    played = lay_out(Round(), FULL).start()
    played.ask()
    assert played.done_from("save")[:7] == [
        *(("save", 1), ("saved", 1), ("trace", 1)),
        *(("send", 2), ("send", 2), ("answer", 2), ("let go", 2)),
    ]
    assert played.network.sent == [(message("n2"), "127.0.0.1:2")] * 2


@pytest.mark.parametrize(
    ("hard_state", "entries"), [(VOTE, ()), (HardState(3), ()), (None, ENTRIES), (HardState(3), ENTRIES)]
)
def test_whatever_is_to_be_saved_is_saved_as_it_is(
    lay_out: LayOut, hard_state: HardState | None, entries: tuple[Entry, ...]
) -> None:
    """A vote in a term that was saved before too, with nothing beside it."""
    played = lay_out(Round(saving(hard_state, entries))).start()
    played.ask()
    assert played.disk.saves == [(hard_state, entries)]


def test_a_round_with_nothing_to_save_waits_for_no_disk(lay_out: LayOut) -> None:
    played = lay_out(Round(messages=(message("n2"),))).start()
    played.ask()
    assert played.disk.saves == []
    assert len(played.network.sent) == 1


def test_a_leaders_snapshot_is_installed_with_all_beside_it_and_kept_as_it_is_in_the_file(lay_out: LayOut) -> None:
    """What was received would stay in memory otherwise, next to the state restored from it."""
    played = lay_out(Round(saving(VOTE, ENTRIES, HERE), trace=(LINE,))).start()
    played.ask()
    assert played.disk.installed == [(VOTE, HERE, ENTRIES)]
    assert played.disk.saves == []
    assert played.server.stored[0] is STORED
    assert played.done_from("install")[:3] == [("install", 0), ("saved", 0), ("trace", 0)]
    assert played.counted("restore_total") == 1


def test_a_message_to_who_has_no_address_is_dropped_and_the_others_are_sent(lay_out: LayOut) -> None:
    played = lay_out(Round(messages=(message("n3"), message("n2")))).start()
    played.ask()
    assert [sent.recipient for sent, _ in played.network.sent] == ["n2"]


def test_a_server_has_its_first_round_before_anything_that_waits_already(lay_out: LayOut) -> None:
    played = lay_out()
    asked = played.driver.ask(READ)
    played.start()
    assert asked.result(WAIT_S).value == READ
    assert [len(played.told()) for _ in range(2)] == [0, 1]


def test_all_that_waits_is_told_in_one_round_in_the_order_in_which_it_came(lay_out: LayOut) -> None:
    played = lay_out(Round(saving(VOTE))).start(held="save")
    played.record.wait_for("save")
    envelope = played.network.envelope([message("n2")])
    played.driver.found(CONFIGURATION)
    played.driver.deliver(envelope)
    played.network.hint("n2")
    asked = played.driver.ask(READ)
    played.record.let_all_go()
    assert asked.result(WAIT_S).value == READ
    assert played.told() == ()
    assert played.told() == (Found(CONFIGURATION), envelope, Hint("n2"), Asked(READ, asked))


def test_a_deadline_begins_a_round_though_nothing_has_come(lay_out: LayOut) -> None:
    played = lay_out(Round(deadline=-math.inf), Round(deadline=time.monotonic() + 0.01)).start()
    assert [played.told() for _ in range(3)] == [(), (), ()]
    played.ask()


def test_an_envelope_says_who_this_is_as_it_was_published_last(lay_out: LayOut) -> None:
    played = lay_out(Round(), Round(saving(VOTE))).start(held="save")
    asked = played.driver.ask(READ)
    played.record.wait_for("save")
    published = played.driver.status
    played.record.let_all_go()
    asked.result(WAIT_S)
    for status in (published, played.driver.status):
        played.driver.status = status
        assert played.network.envelope([message("n2")]) == wire.Envelope(
            sender="n1",
            cluster_id=status.cluster_id,
            raft_address="127.0.0.1:1",
            http_address="127.0.0.1:8500",
            messages=(message("n2"),),
        )


def test_the_log_is_let_go_a_portion_a_round_without_waiting_and_only_once(lay_out: LayOut) -> None:
    played = lay_out(Round(), Round(first_kept=600), *[Round()] * 4, portions=2).start()
    played.ask()
    assert [len(played.told()) for _ in range(4)] == [0, 1, 0, 0]
    played.ask()
    assert played.disk.let_go == [(600, ROWS_PER_ROUND)] * 3
    assert [term for what, term in played.record.events if what == "let go"] == [2, 3, 4]


def draft() -> SnapshotDraft:
    return SnapshotDraft(META, StateMachine().freeze())


def test_a_snapshot_is_written_beside_the_rounds_then_kept_and_told(lay_out: LayOut) -> None:
    played = lay_out(Round(draft=draft())).start(held="write snapshot")
    played.ask()
    played.record.let_all_go()
    assert [len(played.told()) for _ in range(2)] == [0, 1]
    assert played.told() == (SnapshotWritten(STORED, FALLBACK_INDEX),)
    ((meta, data),) = played.disk.written
    assert (meta, Frozen.decode(data).digest) == (META, draft().content.digest)
    assert (played.counted("snapshot_total"), played.counted("snapshot_duration_seconds_count")) == (1, 1)


@pytest.mark.parametrize("error", [OSError("no space"), ValueError("not what was written")])
@pytest.mark.parametrize("where", ["write snapshot", "keep snapshot"])
def test_a_snapshot_that_fails_on_the_disk_fails_the_node(lay_out: LayOut, where: str, error: Exception) -> None:
    played = lay_out(Round(draft=draft())).start(failing=where, error=error)
    played.wait_for_the_end()
    assert played.done_from(where)[1:] == [("failed: True", 1), ("give up", 1), ("close", 1)]


@pytest.mark.parametrize("error", [OSError("no space"), AssertionError("a broken invariant")])
@pytest.mark.parametrize("where", ["step", "save", "install", "saved"])
def test_nothing_follows_from_a_round_that_is_not_saved(lay_out: LayOut, where: str, error: Exception) -> None:
    played = lay_out(FULL._replace(effects=saving(VOTE, ENTRIES, HERE if where == "install" else None)))
    asked = [played.driver.ask(READ) for _ in range(2)]
    played.start(failing=where, error=error)
    for late in [*asked, played.driver.ask(READ)]:
        assert isinstance(late.exception(WAIT_S), StoppingError)
    assert played.done_from(where)[1:] == [("failed: True", 0), ("give up", 0), ("close", 0)]
    assert played.driver.failed
    assert played.driver.status.ended


def test_what_a_round_has_decided_is_told_though_its_trace_cannot_be_written(lay_out: LayOut) -> None:
    """It is on the disk, and whoever asked would wait in vain, or be told that nobody knows."""
    played = lay_out(Round(), FULL)
    asked = played.driver.ask(READ)
    played.start(failing="trace")
    assert asked.result(WAIT_S).value == READ
    assert [what for what, _ in played.done_from("trace")] == ["trace", "failed: True", "give up", "close", "answer"]


def test_a_driver_that_fails_once_it_has_answered_tells_nobody_twice(lay_out: LayOut) -> None:
    """A second answer is an error of the future's, and whoever comes after it would be told nothing."""
    played = lay_out(Round(), FULL)
    answered = played.driver.ask(READ)
    played.start(failing="let go", held="let go")
    assert answered.result(WAIT_S).value == READ
    late = played.driver.ask(READ)
    played.record.let_all_go()
    assert isinstance(late.exception(WAIT_S), StoppingError)
    assert played.driver.failed


def test_who_still_waits_when_the_driver_fails_is_told_so_once_the_status_says_it(lay_out: LayOut) -> None:
    played = lay_out(Round(), Round(answers=False), Round(saving(VOTE)))
    asked = played.driver.ask(READ)
    told: list[bool] = []
    asked.add_done_callback(lambda _: told.append(played.driver.status.ended))
    played.start(failing="save")
    assert [len(played.told()) for _ in range(2)] == [0, 1]
    played.network.hint("n2")
    assert isinstance(asked.exception(WAIT_S), LeadershipLostError)
    assert told == [True]


def test_a_driver_stops_when_its_server_has_ended_and_not_before(lay_out: LayOut) -> None:
    """A hand-over takes several rounds, and what the last of them says is sent."""
    handing_over = Round(messages=(message("n2"),), answers=False, deadline=0.0)
    played = lay_out(Round(), handing_over, handing_over, FULL).start()
    assert played.told() == ()
    played.driver.stop()
    assert played.told() == (Stop(),)
    assert len(played.network.sent) == 4
    assert [what for what, _ in played.record.events[-3:]] == ["let go", "give up", "close"]
    assert not played.driver.failed
    assert played.driver.status.ended


def test_who_asks_while_the_driver_stops_is_turned_away(lay_out: LayOut) -> None:
    played = lay_out(Round(), FULL).start(held="save")

    def stop() -> None:
        played.driver.stop()
        played.record.note("stopped")

    stopping = threading.Thread(target=stop)
    stopping.start()
    played.record.wait_for("save")
    late = [played.driver.ask(READ) for _ in range(2)]
    played.record.let_all_go()
    stopping.join(WAIT_S)
    for asked in [*late, played.driver.ask(READ)]:
        assert isinstance(asked.exception(WAIT_S), StoppingError)
    assert [what for what, _ in played.record.events[-2:]] == ["close", "stopped"], "it was waited for"


def test_nobody_waits_for_a_snapshot_under_way_but_who_stops_the_driver_and_may_close_its_disk(
    lay_out: LayOut,
) -> None:
    played = lay_out(Round(), Round(draft=draft(), answers=False), Round(saving(VOTE)))
    played.record.opens = "answer"
    asked = played.driver.ask(READ)
    played.start(failing="save", held="write snapshot")
    played.record.wait_for("write snapshot")
    played.network.hint("n2")
    assert isinstance(asked.exception(WAIT_S), LeadershipLostError)
    assert {what for what, _ in played.done_from("close")} == {"close", "answer", "write snapshot"}


def test_whoever_was_taken_from_the_inbox_by_a_round_that_fails_is_told_so(lay_out: LayOut) -> None:
    """Whether what it asked for was begun nobody knows; in the inbox it is no more."""
    played = lay_out(Round()).start(held="saved")
    played.record.wait_for("saved")
    asked = [played.driver.ask(READ) for _ in range(3)]
    played.record.failing["step"] = OSError("disk I/O error")
    played.record.let_all_go()
    assert [type(late.exception(WAIT_S)) for late in asked] == [LeadershipLostError] * 3


def test_what_a_round_says_is_logged_and_what_it_took_is_measured(
    lay_out: LayOut, caplog: pytest.LogCaptureFixture
) -> None:
    committed = msgspec.structs.replace(NOTHING, committed=ENTRIES)
    with caplog.at_level(logging.INFO):
        played = lay_out(Round(committed, said=("Leader in term 3",), waited_s=(0.5, 0.25))).start()
        played.ask()
    assert "Leader in term 3" in caplog.text
    assert played.counted("commit_duration_seconds_sum") == 0.75
    assert played.counted("apply_duration_seconds_count") == 1


def test_an_error_is_handed_out_as_one(lay_out: LayOut) -> None:
    played = lay_out(Round(), Round(error=LeadershipLostError())).start()
    assert isinstance(played.driver.ask(READ).exception(WAIT_S), LeadershipLostError)
    assert not played.driver.failed


@pytest.mark.parametrize(("snapshot_index", "restored"), [(0, 0), (7, 1)])
def test_a_node_that_starts_from_a_snapshot_has_restored_one(
    lay_out: LayOut, snapshot_index: int, restored: int
) -> None:
    assert lay_out(snapshot_index=snapshot_index).start().counted("restore_total") == restored
