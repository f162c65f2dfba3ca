"""What clients do, from a seed: one generator, driven by threads on real nodes and by events in virtual time.

A *script* is a generator that yields its client's next question and is sent what came of it; `retrying` makes one that
asks each question until it is decided. A `Talker` is one client at work: its script, and the node it talks to, which
it changes when it is not served, at the `Pace` that it is given. `WORKLOADS` are the scripts that a case may name.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

from bench.history import as_one
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Operation,
    Outcome,
    Put,
    Question,
    Reading,
    SetAll,
    Writing,
    with_changes,
)

MISMATCH = "cas mismatch"

Script = Generator[Question, Operation, None]


def distinct_writes(series: int, client: int) -> Script:
    """Keys that are never written twice, so that each can be looked for afterwards."""
    for count in itertools.count():
        yield Put(f"w{series}-{client}-{count}", f"{client}-{count}")


def retrying(script: Script, client_id: str) -> Script:
    """`script` with each question asked until it is decided. Its writes are numbered, so that each takes effect once
    even if answers are lost (thesis 6.3), and `script` is told of all tries as one operation; each try of a read is an
    operation of its own. No other client of the cluster may be called `client_id`."""
    sequence, asked = 0, next(script)
    while True:
        is_write = isinstance(asked, Writing)
        if is_write:
            sequence += 1
            asked = with_changes(asked, client_id=client_id, sequence=sequence)
        told = yield asked
        while not told.decided:
            again = yield asked
            told = as_one(told, again) if is_write else again
        asked = script.send(told)


def until_done(asked: Question, may_go_on: Callable[[], bool]) -> Script:
    """Ask until it is done, as long as `may_go_on` allows it."""
    told = yield asked
    while told.outcome is not Outcome.OK and may_go_on():
        told = yield asked


class Pace(NamedTuple):
    """How often a client asks. A client never has two questions under way."""

    pause_s: float = 0.005
    """After an answer, on average."""
    rate_per_s: float | None = None
    """So many questions a second on average, instead, as long as they are answered fast enough for that."""

    def wait_s(self, asking_s: float, chance: float) -> float:
        """How long it waits after an answer that took `asking_s`; `chance` is drawn from 0 to 1."""
        if self.rate_per_s is None:
            return 2 * self.pause_s * chance
        return max(0.0, 2 * chance / self.rate_per_s - asking_s)


BRISK = Pace()
"""Some hundred questions a second, if they are answered at once."""


class Talker:
    """One client at work. It goes to the next node when its node did not serve it."""

    def __init__(self, script: Script, nodes: Sequence[str], first: int = 0) -> None:
        self._script = script
        turn = first % len(nodes)
        self._nodes = itertools.cycle([*nodes[turn:], *nodes[:turn]])
        self.node = next(self._nodes)
        self.asks: Question | None = next(script, None)
        """What it asks next, None when its script has ended."""
        self.acknowledged = 0
        """How many writes and operators' requests."""

    def told(self, operation: Operation) -> None:
        """Take what came of `asks` into account; after that `asks` and `node` say what comes next."""
        if operation.outcome is Outcome.OK:
            self.acknowledged += not isinstance(operation.asked, Reading)
        elif not operation.decided:
            self.move_on()
        try:
            self.asks = self._script.send(operation)
        except StopIteration:
            self.asks = None

    def move_on(self) -> None:
        """Talk to the next node."""
        self.node = next(self._nodes)


# What a case may name

SIZES = (0,) * 17 + (300, 1500, 6000)
"""How many bytes a value is padded by: most values fit many times into what a link or a message takes, some do not."""
PER_KEY = 40
"""After so many changes of its own a client goes on to another list, counter or set, so that none grows for ever."""
LIST, COUNTER, SET = "work.list", "work.counter", "work.set"
"""What a key begins with whose value is a list, a number or a set (`bench.checkers.totals`)."""


class Work(NamedTuple):
    """What one client is told: its number, and its own random numbers. No two clients ever write the same value."""

    client: int
    rng: random.Random

    def value(self, count: int) -> str:
        return f"{self.client}.{count}{'.' * self.rng.choice(SIZES)}"


def register(work: Work) -> Script:
    """Reads, writes and compare-and-sets of two keys, so that most of them overlap."""
    rng = work.rng
    seen: dict[str, int] = {}
    for count in itertools.count(1):
        chance, key = rng.random(), f"r{rng.randrange(2)}"
        if chance < 0.3:
            seen[key] = (yield Put(key, work.value(count))).modify_index or 0
        elif chance < 0.5:
            seen[key] = (yield Cas(key, work.value(count), seen.get(key, 0))).modify_index or 0
        else:
            yield Get(key, _fresh(rng))


def keys(work: Work) -> Script:
    """Keys that are never written twice."""
    return distinct_writes(work.client, 0)


def lists(work: Work) -> Script:
    """A text is put behind those that are there."""
    return _changing(work, LIST, lambda former, new: f"{former} {new}".strip())


def counters(work: Work) -> Script:
    """Numbers grow by one."""
    return _changing(work, COUNTER, lambda former, _: str(int(former or "0") + 1))


def sets(work: Work) -> Script:
    """A text is added to those that are there, whose order means nothing."""
    return _changing(work, SET, lambda former, new: " ".join([*sorted(former.split()), new]))


def _changing(work: Work, kind: str, change: Callable[[str, str], str]) -> Script:
    """What is there is read, and replaced if nobody else has replaced it meanwhile. A mismatch names the index of what
    is there. If that is still the index when the client writes, its read in between has shown what stands there."""
    rng = work.rng
    known: dict[str, tuple[str, int]] = {}
    for count in itertools.count(1):
        key = f"{kind}-{count // PER_KEY}-{rng.randrange(2)}"
        if rng.random() < 0.3:
            yield Get(key, _fresh(rng) if rng.random() < 0.8 else Freshness.STALE)
            continue
        value, index = known.pop(key, ("", 0))
        written = yield Cas(key, change(value, f"{work.client}.{count}"), index)
        if written.outcome is Outcome.OK and written.modify_index is not None:
            assert isinstance(written.asked, Cas)
            known[key] = written.asked.value, written.modify_index
        elif written.reason == MISMATCH and written.modify_index:
            read = yield Get(key, Freshness.LINEARIZABLE)
            if read.outcome is Outcome.OK:
                known[key] = read.value or "", written.modify_index


def batches(work: Work) -> Script:
    """Two of three keys are set together, and all are read together."""
    rng = work.rng
    seen: dict[str, int] = {}
    for count in itertools.count(1):
        chance, pair = rng.random(), rng.sample(("b0", "b1", "b2"), 2)
        if chance < 0.5:
            yield from _set_together(pair, work.value(count), seen, expects=rng.random() < 0.5)
        elif chance < 0.6:
            yield DeleteAll(tuple(map(Item, pair)))
            seen |= dict.fromkeys(pair, 0)
        elif chance < 0.8:
            yield GetAll(("b0", "b1", "b2"))
        else:
            yield Get(pair[0], _fresh(rng))


def mixed(work: Work) -> Script:
    """Every kind of write and read, over few keys. Batches share a key."""
    rng = work.rng
    seen: dict[str, int] = {}
    """The modify_index of each key, 0 when it is not there, as this client knows it."""
    for count in itertools.count(1):
        chance, key = rng.random(), f"k{rng.randrange(4)}"
        value = work.value(count)
        if chance < 0.25:
            seen[key] = (yield Put(key, value)).modify_index or 0
        elif chance < 0.45:
            seen[key] = (yield Cas(key, value, seen.get(key, 0))).modify_index or 0
        elif chance < 0.5:
            yield Delete(key)
            seen[key] = 0
        elif chance < 0.55:
            yield Delete(key, seen.get(key, 0))
        elif chance < 0.6:
            yield from _set_together((key, "both"), value, seen, expects=rng.random() < 0.5)
        elif chance < 0.62:
            yield DeleteAll((Item(key), Item("both")))
            seen |= {key: 0, "both": 0}
        elif chance < 0.65:
            yield GetAll((key, "both"))
        elif chance < 0.95:
            yield Get(key, _fresh(rng))
        else:
            yield Get(key)


def _set_together(together: Sequence[str], value: str, seen: dict[str, int], *, expects: bool) -> Script:
    items = tuple(Item(key, value, seen.get(key, 0) if expects else None) for key in together)
    told = yield SetAll(items)
    seen.update(dict.fromkeys(together, told.modify_index or 0))


def _fresh(rng: random.Random) -> Freshness:
    return rng.choice((Freshness.LINEARIZABLE, Freshness.LEASE))


WORKLOADS: Mapping[str, Callable[[Work], Script]] = {
    "register": register,
    "keys": keys,
    "append": lists,
    "counter": counters,
    "set": sets,
    "batches": batches,
    "mixed": mixed,
}
"""By name: the script of a client that asks each question once."""


def script_of(workload: str, client: int, rng: random.Random, *, retries: bool = True) -> Script:
    """What a client does; with `retries` it asks each question until it is decided. Raises LookupError for a workload
    that there is none of."""
    if workload not in WORKLOADS:
        raise LookupError(f"there is no workload {workload!r}; there are {', '.join(WORKLOADS)}")
    script = WORKLOADS[workload](Work(client, rng))
    return retrying(script, f"client-{client}") if retries else script
