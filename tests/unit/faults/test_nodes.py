"""What lasts on nodes, and who brings it into force."""

from __future__ import annotations

import pytest

from faults.nodes import WELL, NodeFaults, NodeKind, NodeState

DOWN = NodeState(down=True)


def test_a_fault_that_cannot_be_brought_into_force_is_none() -> None:
    told: list[tuple[NodeState, NodeState]] = []

    def enforce(node: str, former: NodeState, state: NodeState) -> None:
        told.append((former, state))
        if state == DOWN:
            raise OSError("no way")

    faults = NodeFaults(["n1"], enforce)
    with pytest.raises(OSError, match="no way"), faults.lasting("n1", NodeKind.DOWN, DOWN):
        pytest.fail("it never began")
    assert faults.state("n1") == WELL
    assert told == [(WELL, DOWN), (DOWN, WELL)]


@pytest.mark.parametrize("does", [NodeState(disk_latency_ms=1), NodeState(unreached=True)])
def test_a_node_that_is_slow_or_not_reached_runs_and_is_waited_for_by_nobody(does: NodeState) -> None:
    assert (does.may_start, does.excused) == (True, True)
    assert not WELL.excused
