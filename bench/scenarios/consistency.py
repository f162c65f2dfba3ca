"""What reads may see, and what becomes of writes that depend on what was there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

from bench.checkers import ONE_STORY, SAFETY
from bench.cluster import Client, Cluster, Workers
from bench.operations import Cas, Operation, Outcome, Put
from bench.scenarios.registry import scenario
from bench.scenarios.snapshots import OFTEN, snapshot_index
from bench.scenarios.steps import come_back, decide, followers, hand_over, put, read_newest, undisturbed, write_more
from bench.workload import Script, retrying
from faults.links import CLIENT, Link, Mode

LOOKS = 10


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY])
def stale_and_linearizable_reads(cluster: Cluster) -> None:
    """A leader that was cut off answers a plain read with an old value, and a linearizable read not at all."""
    old = put(cluster, "x", "old")
    others = followers(cluster, old)
    with cluster.network.partitioned([old], others):
        put(cluster, "x", "new", among=others)
        assert cluster.client(old).get("x").value == "old", "it cannot know better"
        assert cluster.client(old).get("x", consistent=True).outcome is not Outcome.OK, "it answered a stale read"
        assert read_newest(cluster, "x", among=others) == "new"
    cluster.wait_until_agreed()
    assert {cluster.client(node).get("x").value for node in cluster.nodes} == {"new"}


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY])
def reads_of_a_leader_that_wakes(cluster: Cluster) -> None:
    """A leader that was stopped while another took over answers no linearizable read with an old value (thesis 6.4)."""
    old = put(cluster, "x", "old")
    others = followers(cluster, old)
    cluster.pause(old)
    put(cluster, "x", "new", among=others)
    cluster.resume(old)
    read = cluster.client(old).get("x", consistent=True)
    assert read.outcome is not Outcome.OK or read.value == "new", "it answered a stale read"
    cluster.wait_until_agreed()
    assert read_newest(cluster, "x") == "new"


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY])
def reads_never_go_back(cluster: Cluster) -> None:
    """While a number grows, no node ever reads a smaller one than before, and a linearizable read finds the newest.

    So every node applies the writes in the order of the log, whoever leads and whoever is cut off meanwhile.
    """
    cluster.wait_until_agreed()
    seen = dict.fromkeys(cluster.nodes, 0)
    with cluster.working([_growing("x")]) as load:
        write_more(cluster, load)
        _look(cluster, load, seen)
        leader = cluster.wait_for_leader()
        others = followers(cluster, leader)
        with cluster.network.partitioned([others[0]], [leader, *others[1:]]):
            write_more(cluster, load)
            _look(cluster, load, seen)
        with cluster.network.partitioned([leader], others):
            write_more(cluster, load)
            _look(cluster, load, seen)
        _look(cluster, load, seen)
    cluster.wait_until_agreed()
    _look(cluster, load, seen)


def _growing(key: str) -> Script:
    for count in itertools.count(1):
        yield Put(key, str(count))


def _look(cluster: Cluster, load: Workers, seen: dict[str, int]) -> None:
    """Read a number that grows; `seen` is what each node read last."""
    clients = {node: cluster.client(node) for node in cluster.nodes}
    for _ in range(LOOKS):
        for node, client in clients.items():
            read = client.get("x")
            assert int(read.value or 0) >= seen[node], f"{node} read {read.value} after {seen[node]}"
            seen[node] = int(read.value or 0)
        # The number is at least how many of its writes were acknowledged.
        acknowledged = load.acknowledged()
        newest = int(read_newest(cluster, "x") or 0)
        assert newest >= acknowledged, f"the newest is {newest}, but {acknowledged} writes had been acknowledged"


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY])
def compare_and_set(cluster: Cluster) -> None:
    """A write that names the version it replaces takes effect if that version is there, and changes nothing if not."""

    def story(client: Client, key: str) -> Sequence[Operation]:
        made = client.cas(key, "a", 0)
        again = client.cas(key, "b", 0)
        replaced = client.cas(key, "c", made.modify_index or 0)
        late = client.cas(key, "d", made.modify_index or 0)
        read = client.get(key, consistent=True)
        return made, again, replaced, late, read, client.delete(key), client.cas(key, "e", 0)

    made, again, replaced, late, read, deleted, anew = undisturbed(cluster, story)
    assert {tried.outcome for tried in (made, replaced, deleted, anew)} == {Outcome.OK}
    assert {tried.reason for tried in (again, late)} == {"cas mismatch"}
    assert read.value == "c"


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY])
def cas_race(cluster: Cluster) -> None:
    """Of several clients that replace the same value one succeeds, also while one leader follows another."""
    with cluster.working([_chain("x") for _ in range(3)]) as load:
        write_more(cluster, load)
        old = cluster.kill(cluster.wait_for_leader())
        cluster.wait_for_leader(other_than=old)
        write_more(cluster, load)
        cluster.restart(old)
    cluster.wait_until_agreed()
    tried = [(one, int(one.asked.value)) for one in cluster.history if isinstance(one.asked, Cas)]
    assert any(one.reason == "cas mismatch" for one, _ in tried), "nobody raced"
    won = sorted((one.modify_index or 0, replaced) for one, replaced in tried if one.outcome is Outcome.OK)
    for (former, _), (later, replaced) in itertools.pairwise(won):
        assert replaced >= former, f"the write at {later} replaced that at {replaced}, after the one at {former}"


def _chain(key: str) -> Script:
    """Each write replaces the write that was seen last, and has the index of that one for its value."""
    seen = 0
    while True:
        tried = yield Cas(key, str(seen), seen)
        if tried.modify_index is not None:
            seen = tried.modify_index


@scenario(
    nodes=3, checks=[*SAFETY, *ONE_STORY], each={"mode": list(Mode)}, needs=["identity", "transfer"], settings=OFTEN
)
def retries_take_effect_once(cluster: Cluster, mode: Mode) -> None:
    """A write that is asked for again, because its answer was lost, takes effect once, whoever answers (thesis 6.3).

    A leader that has started again from a snapshot knows the write too, and so does one that was given a snapshot.
    """
    early = Put("x", "early", client_id="early", sequence=1)
    made = decide(cluster, early)
    put(cluster, "x", "newer")
    keys = [f"own-{number}" for number in range(3)]
    with cluster.working([retrying(_replacing(key), key) for key in keys]) as load:
        write_more(cluster, load)
        leader = cluster.wait_for_leader()
        with cluster.network.cutting([Link(CLIENT, leader)], mode):
            assert cluster.client(leader).get("x").outcome is Outcome.UNKNOWN, "there is no way for an answer"
        for node in cluster.nodes:
            write_more(cluster, load)
            cluster.wait_until(partial(snapshot_index, cluster, node), f"{node} takes a snapshot")
            come_back(cluster, node)
    cluster.wait_until_agreed()
    assert any(one.tries and one.outcome is Outcome.OK for one in cluster.history), "nobody asked again"
    for key in keys:
        _assert_once(cluster, key)
    for node in cluster.nodes:
        hand_over(cluster, node)
        assert decide(cluster, early).modify_index == made.modify_index, "it took effect again"
    assert read_newest(cluster, "x") == "newer", "a write was undone by an older one that was asked for again"


def _replacing(key: str) -> Script:
    """Nobody else writes this key, so each write finds what the one before it left."""
    left = 0
    for count in itertools.count(1):
        left = (yield Cas(key, str(count), left)).modify_index or 0


def _assert_once(cluster: Cluster, key: str) -> None:
    writes = [(one, one.asked) for one in cluster.history if isinstance(one.asked, Cas) and one.asked.key == key]
    refused = [asked.value for one, asked in writes if one.reason == "cas mismatch"]
    assert not refused, f"{key} = {refused[0]} took effect, and was told that another did"
    acknowledged = sum(one.outcome is Outcome.OK for one, _ in writes)
    held = int(read_newest(cluster, key) or 0)
    assert held - acknowledged in (0, 1), f"{key} = {held} after {acknowledged} writes, and one at most unknown"
