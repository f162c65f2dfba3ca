"""The trace of a simulated node: the records that a real one writes, line by line."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.case import plan
from bench.simulated.cluster import SimulatedCluster
from node.raft.transitions import Transition
from node.trace import Trace


def kinds(of: type[Transition] = Transition) -> list[type[Transition]]:
    return [kind for child in of.__subclasses__() for kind in (child, *kinds(child))]


def test_both_worlds_yield_the_same_records(tmp_path: Path) -> None:
    """Each line of a simulated trace, made the record it says it is and written by the real trace, is that line."""
    with SimulatedCluster(plan(3, seed=1)) as cluster:
        old = cluster.wait_for_leader()
        cluster.client(old).put("k", "v")
        cluster.client(old).transfer()
        cluster.kill(cluster.wait_for_leader(other_than=old))
        cluster.wait_for_leader(among=[node for node in cluster.nodes if cluster.is_running(node)])
    by_name = {kind.__struct_config__.tag: kind for kind in kinds()}
    traces = cluster.evidence().traces.values()
    simulated = [msgspec.json.decode(msgspec.json.encode(record)) for trace in traces for record in trace]
    trace = Trace(tmp_path / "trace.jsonl")
    trace.write([msgspec.convert(record, by_name[record["event"]]) for record in simulated])
    trace.close()
    written = [msgspec.json.decode(line) for line in (tmp_path / "trace.jsonl").read_bytes().splitlines()]
    assert written == simulated
    assert {record["event"] for record in simulated} >= {"start", "role", "term", "vote", "commit", "lease", "applied"}
