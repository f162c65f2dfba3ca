"""What it costs that everything which clients are told is written down."""

from __future__ import annotations

import itertools
import time

from bench.cluster import Cluster
from bench.history import History, Invoked
from bench.measure.registry import measurement
from bench.measure.result import Aim, Measured, Series
from bench.measure.setting import Setting
from bench.operations import Operation, Question, Told
from bench.workload import Pace, Script, distinct_writes

CLIENTS = 8
TURN_S = 2.0


class Unrecorded(History):
    """Makes operations, and neither keeps nor writes them."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: dict[int, Invoked] = {}
        self._count = itertools.count()

    def invoked(self, client: int, node: str, asked: Question, at_s: float) -> int:
        number = next(self._count)
        self._under_way[number] = Invoked(at_s, number, client, node, asked)
        return number

    def completed(self, number: int, told: Told, at_s: float) -> Operation:
        event = self._under_way.pop(number)
        return Operation(event.client, event.node, event.asked, told, event.at_s, at_s)


@measurement(count=10)
def recording(setting: Setting) -> Measured:
    """Clients that write without a pause: from their first acknowledgements to two seconds later, with everything that
    they ask and are told written down, and without, by turns."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    with setting.cluster() as cluster:
        leader = cluster.wait_for_leader()
        recorded = cluster.history
        series = itertools.count()
        for _ in setting.counted(itertools.count()):
            for records in (True, False):
                cluster.history = recorded if records else Unrecorded()
                rates[records].append(_rate(cluster, leader, next(series)))
        cluster.history = recorded
    shares = [100 * one / other for one, other in zip(rates[True], rates[False], strict=True)]
    return Measured(
        [
            Series("acknowledged writes, recorded", "1/s", rates[True]),
            Series("acknowledged writes, not recorded", "1/s", rates[False]),
            Series("recorded, of not recorded", "%", shares, Aim("p50", ">=", 95)),
        ]
    )


def _rate(cluster: Cluster, leader: str, series: int) -> float:
    scripts: list[Script] = [distinct_writes(series, client) for client in range(CLIENTS)]
    with cluster.working(scripts, [leader], Pace(0.0)) as workers:
        cluster.wait_until(lambda: workers.acknowledged() > CLIENTS, "the first acknowledgements")
        began_s, before = time.monotonic(), workers.acknowledged()
        cluster.pass_time(cluster.now_s + TURN_S)
        return (workers.acknowledged() - before) / (time.monotonic() - began_s)
