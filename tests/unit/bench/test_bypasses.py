"""Which connections of a node go past its links, and what is said when some did."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.checkers import faults_touched_traffic, some_fault_touched_traffic
from bench.cli import cli
from bench.cluster import Cluster, PromiseBrokenError
from bench.evidence import Evidence, Record
from bench.live.bypasses import Bypass, Bypasses, bypasses
from bench.runner import run_scenario
from bench.scenarios import SCENARIOS
from bench.verdict import Check, Verdict
from bench.worlds import SimulatedWorld
from faults.links import BYPASS, CLIENT, Address, Link, Route, client_links, peer_links

NODES = ("ada", "bo", "cy")
RAFT = {"ada": 7301, "bo": 7302, "cy": 7303}
HTTP = {"ada": 18601, "bo": 18602, "cy": 18603}
LISTEN = {link: 17301 + number for number, link in enumerate((*peer_links(NODES), *client_links(NODES)))}
ROUTES = tuple(
    Route(
        link, Address("127.0.0.1", port), Address("127.0.0.1", (HTTP if link.source == CLIENT else RAFT)[link.target])
    )
    for link, port in LISTEN.items()
)
NEAR = Address("127.0.0.1", 40404)


@pytest.mark.parametrize(
    ("host", "port", "target"),
    [
        # To another node's own port, under whatever address it was dialled.
        *((host, RAFT["bo"], "bo") for host in ("127.0.0.1", "::1", "127.0.0.9", "10.1.2.3", "::ffff:127.0.0.1")),
        ("127.0.0.1", RAFT["cy"], "cy"),
        # Over its own links, and what is no way to a node.
        ("127.0.0.1", LISTEN[Link("ada", "bo")], None),
        ("127.0.0.1", LISTEN[Link("ada", "cy")], None),
        ("127.0.0.1", RAFT["ada"], None),
        ("127.0.0.1", 40405, None),
        # Over another's link: a cut of its own leaves that alone.
        ("127.0.0.1", LISTEN[Link("cy", "bo")], "bo"),
        ("127.0.0.1", LISTEN[Link("bo", "cy")], "cy"),
        ("127.0.0.1", LISTEN[Link("bo", "ada")], None),
        # Clients' ways are not between nodes.
        ("127.0.0.1", LISTEN[Link(CLIENT, "bo")], None),
        ("127.0.0.1", HTTP["bo"], None),
    ],
)
def test_a_connection_goes_past_a_link_if_it_leads_to_another_node_by_another_way(
    host: str, port: int, target: str | None
) -> None:
    far = Address(host, port)
    expected = [] if target is None else [Bypass(Link("ada", target), NEAR, far)]
    assert bypasses("ada", [(NEAR, far)], ROUTES) == expected


def test_a_connection_of_a_process_is_found_once_and_remembered_when_it_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bo:
        there = Address(*bo.getsockname())
        found = Bypasses([Route(Link("ada", "bo"), Address("127.0.0.1", 1), there)])
        assert found.look("ada", os.getpid()) == []
        with closing(socket.create_connection(there)) as connection:
            near = Address(*connection.getsockname())
            assert found.look("ada", os.getpid()) == [Bypass(Link("ada", "bo"), near, there)]
            assert found.look("ada", os.getpid()) == []
    assert found.links == {Link("ada", "bo")}


def test_a_process_that_is_gone_has_no_connections() -> None:
    assert Bypasses(ROUTES).look("ada", 2**22 + 1) == []


# What is said of it


def fault(at_s: float, event: str, **fields: Any) -> Record:
    return {"event": event, "at_s": at_s, "links": "ada->bo", "detail": "", **fields}


CUT, HEAL = fault(1, "cut"), fault(4, "heal", attempted=9)
PAST = fault(2, BYPASS, links="cy->bo", detail="127.0.0.1:40404 to 127.0.0.1:7302")


@pytest.mark.parametrize("check", [faults_touched_traffic, some_fault_touched_traffic])
@pytest.mark.parametrize("timeline", [(CUT, PAST, HEAL), (PAST, CUT, HEAL), (CUT, HEAL, PAST), (CUT, PAST)])
def test_where_a_link_was_gone_past_no_fault_is_believed_and_the_connection_is_named(
    timeline: tuple[Record, ...], check: Check
) -> None:
    found = check(Evidence((), {}, timeline))
    assert found.verdict is Verdict.UNKNOWN
    assert "cy->bo was gone past (127.0.0.1:40404 to 127.0.0.1:7302)" in found.reason
    assert check(Evidence((), {}, (CUT, HEAL))).verdict is Verdict.VALID
    assert check(Evidence((), {}, (PAST,))).verdict is Verdict.VALID, "nothing was to be cut"


def test_of_several_connections_one_that_went_past_a_faulty_link_is_named() -> None:
    other = fault(3, BYPASS, detail="127.0.0.1:40406 to 127.0.0.1:7302")
    found = faults_touched_traffic(Evidence((), {}, (CUT, PAST, other, HEAL)))
    assert "ada->bo was gone past (127.0.0.1:40406 to 127.0.0.1:7302)" in found.reason


@pytest.mark.parametrize(
    ("broken", "verdict"),
    [(AssertionError("bo has heard of it"), Verdict.UNKNOWN), (PromiseBrokenError("one", "two"), Verdict.INVALID)],
)
def test_a_story_is_not_held_against_nodes_whose_links_were_gone_past_but_a_broken_promise_is(
    broken: Exception, verdict: Verdict, tmp_path: Path
) -> None:
    def play(cluster: Cluster) -> None:
        with cluster.network.isolated("n2"):
            cluster.note(BYPASS, links="n1->n2", detail="here to there")
            raise broken

    done = run_scenario(replace(SCENARIOS["three_nodes"], play=play), runs=tmp_path, world=SimulatedWorld())
    assert done.findings[0].verdict is verdict
    assert ("n1->n2 was gone past" in done.findings[0].reason) is (verdict is Verdict.UNKNOWN)


def test_a_healing_tells_beside_a_link_that_it_was_gone_past_and_what_met_the_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = {"links": ["ada->bo", "cy->bo"], "left": {}, "bypassed": ["cy->bo"], "met": 1}
    monkeypatch.setattr("bench.commands.breaking.ask", lambda *_, **__: answer)
    assert CliRunner().invoke(cli, ["heal"]).output.splitlines() == [
        "healed: ada->bo, cy->bo (bypassed)",
        "met meanwhile: 1 message between nodes",
    ]
