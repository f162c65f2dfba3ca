"""What nodes said of themselves when the bench asked them, now and again (`SAID` in the timeline).

Any system says as much, and no trace is needed for it. A look is no photograph: a node was asked at one instant and had
answered at another. So two nodes led at once only if one of them led before and after the other said so, all in one
term, since a leader that has been deposed does not lead again in the same term (Raft §5.2). In virtual time a look
takes no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.checkers.clocks import unlike
from bench.checkers.elections import said_reigns
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import SAID, Evidence, Record
from bench.verdict import Finding, Verdict
from bench.words import counted

CHECK = "nodes_say_one_thing"
Contradiction = tuple[str, Record]
"""In words, and the record with which it came up."""


@rests_on_stable_storage
def nodes_say_one_thing(evidence: Evidence) -> Finding:
    """Nodes that say that they have applied the same part of the log say so with the same digest; one node leads in a
    term, and at an instant; and no node's term goes back."""
    said = [record for record in evidence.timeline if record["event"] == SAID]
    alike = not unlike(evidence)
    rules = (
        _digests_agree,
        _one_leads_in_a_term,
        _terms_never_go_back,
        *((_one_leads_at_a_time,) if alike else ()),
    )
    for rule in rules:
        for words, record in rule(said):
            return Finding(CHECK, Verdict.INVALID, words, record["at_s"])
    if not said:
        return Finding(CHECK, Verdict.VALID, "no node was asked what it says of itself")
    return Finding(CHECK, Verdict.VALID, f"{counted(len(said), 'answer')} of nodes, and none contradicts another")


def _digests_agree(said: Sequence[Record]) -> Iterator[Contradiction]:
    """State machine safety (Raft §5.4.3), as far as digests tell."""
    first: dict[int, Record] = {}
    for record in said:
        other = first.setdefault(record["applied_index"], record)
        if other["digest"] != record["digest"]:
            who = f"{other['node']} at {other['at_s']:.4f} and {record['node']} at {record['at_s']:.4f}"
            yield f"up to index {record['applied_index']} {who} had applied different logs", record


def _one_leads_in_a_term(said: Sequence[Record]) -> Iterator[Contradiction]:
    """Election safety (Raft §5.2)."""
    leader: dict[int, str] = {}
    for record in said:
        if record["role"] == "Leader" and leader.setdefault(record["term"], record["node"]) != record["node"]:
            words = f"in term {record['term']} {leader[record['term']]} said that it led, and {record['node']} too"
            yield words, record


def _terms_never_go_back(said: Sequence[Record]) -> Iterator[Contradiction]:
    """The term is on disk before anybody hears of it (Raft, Figure 2, persistent state)."""
    last: dict[str, Record] = {}
    for record in said:
        former = last.get(record["node"], record)
        if record["term"] < former["term"]:
            was = f"said at {former['at_s']:.4f} that it was in term {former['term']}"
            yield f"{record['node']} {was}, and then in term {record['term']}", record
        last[record["node"]] = record


def _one_leads_at_a_time(said: Sequence[Record]) -> Iterator[Contradiction]:
    """`sum(konsul_raft_is_leader) <= 1` at every instant, which the leader's lease keeps (thesis 6.4.1)."""
    reigns = list(said_reigns(said))
    for record in said:
        for reign in reigns if record["role"] == "Leader" else ():
            if reign.node != record["node"] and reign.since_s <= record["since_s"] and record["at_s"] <= reign.until_s:
                words = f"{record['node']} said that it led in term {record['term']}, while {reign.node} led in term "
                yield f"{words}{reign.term}", record
