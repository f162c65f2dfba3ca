"""What nobody has thought of: faults at random, under every workload."""

from __future__ import annotations

import random

from bench.case import Case
from bench.checkers import CLIENTS, SAFETY, nodes_say_one_thing, some_fault_touched_traffic
from bench.cluster import Cluster
from bench.player import Player
from bench.scenarios.registry import scenario
from bench.search.stories import generate
from bench.workload import WORKLOADS

RATE_PER_S = 20.0
"""How often each client asks."""


@scenario(
    nodes=5,
    minimum=3,
    checks=[*SAFETY, *CLIENTS, nodes_say_one_thing, some_fault_touched_traffic],
    each={"workload": list(WORKLOADS)},
)
def faults_at_random(cluster: Cluster, workload: str) -> None:
    """Clients are told one story while faults come at random, and once all faults are over, they are served again."""
    plan = cluster.plan
    schedule = generate(random.Random(f"{plan.seed}/faults"), len(plan.nodes))
    whole = Case(schedule=schedule, settings=plan.settings, seed=plan.seed, workload=workload, rate_per_s=RATE_PER_S)
    cannot = {need: reason for need in whole.needs if (reason := cluster.can(need)) is not None}
    for need, reason in cannot.items():
        cluster.remark(f"leaves out what needs {need}: {reason}")
    Player(cluster, whole.without(frozenset(cannot))).play()
