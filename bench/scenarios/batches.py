"""Batches: several keys in one log entry, all or nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from bench.checkers import CLIENTS, ONE_STORY, SAFETY
from bench.cluster import Client, Cluster
from bench.operations import Item, Operation, Outcome, SetAll
from bench.scenarios.registry import scenario
from bench.scenarios.steps import read_back, undisturbed, write_more
from bench.workload import Script

LOOKS = 100
WIDTH = 5
"""How many keys a batch has."""
TOGETHER = 100 * WIDTH
"""How many keys are read in one request: whole batches."""


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY], needs=["batches"])
def batches(cluster: Cluster) -> None:
    """A batch is set, replaced and deleted as a whole, and not at all when one of its keys is not as expected."""

    def story(client: Client, key: str) -> Sequence[Operation]:
        keys = [f"{key}-{number}" for number in range(WIDTH)]
        made = client.set_all(dict.fromkeys(keys, "a"))
        found = dict.fromkeys(keys, made.modify_index or 0)
        refused = client.set_all(dict.fromkeys(keys, "b"), found | {keys[-1]: 1})
        kept = client.get_all(keys)
        replaced = client.set_all(dict.fromkeys(keys, "c"), found)
        late = client.delete_all(keys, found)
        changed = client.get_all(keys)
        deleted = client.delete_all(keys)
        return made, refused, kept, replaced, late, changed, deleted, client.get_all(keys)

    made, refused, kept, replaced, late, changed, deleted, gone = undisturbed(cluster, story)
    assert {tried.outcome for tried in (made, replaced, deleted)} == {Outcome.OK}
    assert {tried.reason for tried in (refused, late)} == {"cas mismatch"}
    assert list(kept.values.values()) == ["a"] * WIDTH
    assert list(changed.values.values()) == ["c"] * WIDTH
    assert not gone.values


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], needs=["batches"])
def batches_across_leaders(cluster: Cluster) -> None:
    """Of every batch that was asked for while leaders were killed, every node has all keys or none."""
    with cluster.working([_always_new(client) for client in range(3)]) as load:
        for _ in range(2):
            write_more(cluster, load)
            old = cluster.kill(cluster.wait_for_leader())
            cluster.wait_for_leader(other_than=old)
            write_more(cluster, load)
            cluster.restart(old)
    cluster.wait_until_agreed()
    read_back(cluster)
    made = [operation.asked for operation in cluster.history if isinstance(operation.asked, SetAll)]
    asked = [item.key for batch in made for item in batch.items]
    for node in cluster.nodes:
        client = cluster.client(node)
        for start in range(0, len(asked), TOGETHER):
            found = client.get_all(asked[start : start + TOGETHER]).values
            parts = Counter(key.rpartition("-")[0] for key in found)
            assert set(parts.values()) <= {WIDTH}, f"{node} has parts of batches: {parts}"


def _always_new(client: int) -> Script:
    for count in itertools.count():
        yield _batch(f"{client}-{count}", str(count))


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY], needs=["batches"])
def batches_are_read_whole(cluster: Cluster) -> None:
    """While the same keys are set again and again, whoever reads them together reads the values of one batch."""
    clients = {node: cluster.client(node) for node in cluster.nodes}
    with cluster.working([_over_and_over()]) as load:
        write_more(cluster, load, 1)
        for _ in range(LOOKS):
            for node, client in clients.items():
                values = client.get_all(_keys("x")).values.values()
                assert len(set(values)) <= 1, f"{node} read {sorted(values)} together"
    cluster.wait_until_agreed()


def _over_and_over() -> Script:
    for count in itertools.count():
        yield _batch("x", str(count))


def _batch(name: str, value: str) -> SetAll:
    return SetAll(tuple(Item(key, value) for key in _keys(name)))


def _keys(name: str) -> list[str]:
    return [f"{name}-{number}" for number in range(WIDTH)]
