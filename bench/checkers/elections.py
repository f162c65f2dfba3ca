"""Who led when: from the nodes' traces, on the clock they share."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.checkers.clocks import unlike
from bench.checkers.stable import rests_on_stable_storage
from bench.evidence import SAID, Evidence, Record
from bench.verdict import Finding, Verdict
from bench.words import counted, times


@dataclass(frozen=True, order=True)
class Reign:
    """A span in which a node called itself leader; `until_s` is open to the right."""

    since_s: float
    until_s: float
    node: str
    term: int

    def __str__(self) -> str:
        return f"{self.node} in term {self.term} from {self.since_s:.4f} to {self.until_s:.4f}"


@rests_on_stable_storage
def one_leader_per_term(evidence: Evidence) -> Finding:
    """Election safety (Raft §5.2, Figure 3): at most one leader can be elected in a given term."""
    leaders: dict[int, set[str]] = {}
    for reign in reigns(evidence):
        leaders.setdefault(reign.term, set()).add(reign.node)
    for term, nodes in sorted(leaders.items()):
        if len(nodes) > 1:
            reason = f"term {term} had leaders {', '.join(sorted(nodes))}"
            since_s = max(reign.since_s for reign in reigns(evidence) if reign.term == term)
            return Finding("one_leader_per_term", Verdict.INVALID, reason, since_s)
    terms = counted(len(leaders), "term")
    return _seen("one_leader_per_term", len(leaders), f"{terms} with a leader, one each")


@rests_on_stable_storage
def one_leader_at_a_time(evidence: Evidence) -> Finding:
    """At no instant do two nodes report themselves leader: `sum(konsul_raft_is_leader) <= 1`. UNKNOWN where clocks did
    not run alike, on which that rests."""
    if differ := unlike(evidence):
        return Finding("one_leader_at_a_time", Verdict.UNKNOWN, f"{differ}; this rests on clocks that run about alike")
    # A lease is counted from a candidate's requests. A starved one may win when its lease is over: it never led.
    found = sorted(reign for reign in reigns(evidence) if reign.since_s < reign.until_s)
    for earlier, later in itertools.pairwise(found):
        # Sorted by start, so a reign that overlaps any later one overlaps the next, unless it is one node's own.
        if later.since_s < earlier.until_s and later.node != earlier.node:
            # The later one may have led for a shorter time than was left to the earlier one.
            both_s = min(earlier.until_s, later.until_s) - later.since_s
            lasted = f"for {1000 * both_s:.0f} ms" if math.isfinite(both_s) else "until the end"
            reason = f"two leaders at once {lasted}: {earlier}; {later}"
            return Finding("one_leader_at_a_time", Verdict.INVALID, reason, later.since_s)
    return _seen("one_leader_at_a_time", len(found), f"{times(len(found))} a node led, no two at once")


def leadership_is_handed_over(evidence: Evidence) -> Finding:
    """The node that a leader handed over to led next, in the very next term, and asked for no pre-votes before: no
    time-out was waited for (thesis 3.10)."""
    found = sorted(reigns(evidence))
    handed = [(node, record) for node, trace in evidence.traces.items() for record in trace if _hands_over(record)]
    for node, record in handed:
        next_up = next((reign for reign in found if reign.term > record["term"]), None)
        what = f"{node} handed over to {record['to']} at {record['at_s']:.4f}, "
        if next_up is None or (next_up.node, next_up.term) != (record["to"], record["term"] + 1):
            return Finding("leadership_is_handed_over", Verdict.INVALID, f"{what}and next led {next_up or 'nobody'}")
        if _asked_for_pre_votes(evidence.traces[next_up.node], record["at_s"], next_up.since_s):
            return Finding("leadership_is_handed_over", Verdict.INVALID, f"{what}who stood only after a time-out")
    if not handed:
        return Finding("leadership_is_handed_over", Verdict.UNKNOWN, "no leader handed over, so nothing was checked")
    return Finding("leadership_is_handed_over", Verdict.VALID, f"{len(handed)} times, and the successor led at once")


def nobody_disturbs_a_leader(evidence: Evidence) -> Finding:
    """No leader was deposed by a higher term while its lease held (thesis 4.2.3, 9.6).

    A lease that holds says that a majority follows the leader. Then nobody's term is heeded, whoever was cut off or
    let go. A leader whose lease ran out was starved, by a cut, a pause or a busy machine: whoever led after it did it
    no wrong.
    """
    check = "nobody_disturbs_a_leader"
    if differ := unlike(evidence):
        return Finding(check, Verdict.UNKNOWN, f"{differ}; this rests on clocks that run about alike")
    causes = Counter[str]()
    for node, trace in evidence.traces.items():
        for end in _ends_of_reigns(trace):
            cause = end.get("cause")
            if cause is None:
                return Finding(check, Verdict.UNKNOWN, f"{node}'s trace does not say why it led no more")
            if cause == "higher term":
                what = f"{end['by']} deposed {node} with term {end['term']} at {end['at_s']:.4f}"
                return Finding(check, Verdict.INVALID, f"{what}, while a majority followed it", end["at_s"])
            causes[cause] += 1
    ended = "".join(f", {count} ended by {cause}" for cause, count in sorted(causes.items()))
    began = sum(map(_began, evidence.traces.values()))
    return _seen(check, began, f"{times(began)} a node led, and was not disturbed{ended}")


def _began(trace: Iterable[Record]) -> int:
    return sum(record["event"] == "role" and record["role"] == "Leader" for record in trace)


def _ends_of_reigns(trace: Iterable[Record]) -> Iterator[Record]:
    """Those that a node wrote down itself; whoever was killed was not deposed."""
    lives = (record for record in trace if record["event"] in ("role", "start"))
    for former, latter in itertools.pairwise(lives):
        if former.get("role") == "Leader" and latter["event"] == "role":
            yield latter


def _hands_over(record: Record) -> bool:
    return bool(record["event"] == "transfer")


def _asked_for_pre_votes(trace: Iterable[Record], since_s: float, until_s: float) -> bool:
    roles = [record for record in trace if record["event"] == "role" and since_s <= record["at_s"] <= until_s]
    return any(record["role"] == "PreCandidate" for record in roles)


def reigns(evidence: Evidence) -> Iterator[Reign]:
    """Every reign of every node, as far as there is evidence of it.

    A leader writes down in advance until when it may say that it leads. Whatever hangs, starves, stops or kills a
    leader keeps it from writing down that it leads no more, and from saying that it still does. So a reign lasts until
    the last of these instants, unless its trace or the bench's timeline has something that ended it before.
    """
    for node, trace in evidence.traces.items():
        kills = [record["at_s"] for record in evidence.timeline if record["event"] == "kill" and record["node"] == node]
        for since, written in _spans(trace):
            ends = [record["at_s"] for record in written if record["event"] != "lease"]
            ends += [_leased_until(since, written), *(at_s for at_s in kills if at_s >= since["at_s"])]
            yield Reign(since["at_s"], min(ends), node, since["term"])


def said_reigns(timeline: Iterable[Record]) -> Iterator[Reign]:
    """The same by what nodes said when they were asked: from the first time that one said that it led in a term to the
    last."""
    found: dict[tuple[str, int], Reign] = {}
    for record in timeline:
        if record["event"] == SAID and record["role"] == "Leader":
            named = record["node"], record["term"]
            since_s = found[named].since_s if named in found else record["at_s"]
            found[named] = Reign(since_s, max(since_s, record["since_s"]), *named)
    yield from found.values()


def _spans(trace: Iterable[Record]) -> Iterator[tuple[Record, list[Record]]]:
    """Of each reign the record that it began, and what its node wrote of it: its leases and its end, if it did."""
    since: Record | None = None
    written: list[Record] = []
    for record in trace:
        if record["event"] not in ("role", "start", "stop", "lease"):
            continue
        written.append(record)
        if record["event"] == "lease":
            continue
        if since is not None:
            yield since, written
        since, written = (record if record.get("role") == "Leader" else None), []
    if since is not None:
        yield since, written


def _leased_until(since: Record, written: Iterable[Record]) -> float:
    """By the last lease. A leader that wrote down none never said that it led."""
    leases = [record["until_s"] for record in written if record["event"] == "lease"]
    if not leases:
        return float(since["at_s"])
    return math.inf if leases[-1] is None else float(leases[-1])


def _seen(check: str, count: int, reason: str) -> Finding:
    if not count:
        return Finding(check, Verdict.UNKNOWN, "no trace shows a leader, so nothing was checked")
    return Finding(check, Verdict.VALID, reason)
