"""Seeded bugs, to see whether what watches would notice: each breaks one rule of Raft, and nothing else.

A flaw is a module with a class `Flawed`, a subclass of `Raft` that overrides exactly one method of `node.raft.rules`,
as real systems have done; the module says which. Every rule has a flaw, which a unit test holds true: a rule that
nobody has broken may be one that does nothing. Nothing imports a flaw. It is asked for by name:

    python -m bench explore --flaw forget_vote
    python -m bench run kill_leader --flaw forget_vote

What it takes
-------------
Seeds of five nodes walked from 0 until the flaw was seen, of 5,000 at the most, and seconds of CPU time beside other
work: from inside, by an invariant (`bench.simulated.invariants`) or by traces, and from outside (`explore --outside`),
where nothing reads the core. `nothing_fails` is an assertion of the core's own, which comes before any promise to
others is broken; from outside, a node *died*. What else is seen there: that nodes *said* what contradicts itself, that
not all *agree* in the end, that clients were not *served*, and that what was acknowledged was not *kept*.

rule                    flaw                   seeds  CPU s  from inside, by                   seeds  CPU s  outside
----------------------  ---------------------  -----  -----  --------------------------------  -----  -----  -------
_may_grant_vote         vote_twice                18    1.6  nothing_fails                        18    1.4  died
_log_is_up_to_date      vote_by_length            37    3.0  leader_has_what_is_committed        245     18  agree
_counts_vote            late_votes                18    1.6  leaders_were_elected                       448
_is_elected             count_own_vote_twice       1    0.0  leaders_were_elected                  1    0.0  agree
_is_elected             no_pre_vote                1    0.0  candidates_have_asked               392     34  served
_is_told_to_stand       late_order                 7    0.8  candidates_have_asked                      446
_may_campaign           anyone_campaigns          22    2.1  only_voters_lead                           446
_hard_state             forget_vote                1    0.0  what_is_believed_is_durable                404
_hard_state             forget_term                1    0.0  what_is_believed_is_durable           1    0.0  said
_settles_term           stuck_terms                1    0.1  all_agree_in_the_end                  1    0.1  agree
_settles_term           heed_every_candidate       1    0.0  candidates_disturb_nobody                  439
_leader_may_live        forget_leader              1    0.0  candidates_disturb_nobody          2071    201  said
_lease_base_s           lease_by_receipt         359     40  one_leader_at_a_time                359     50  said
_lease_holds            deaf_leader               13    2.3  connected_majority_has_a_leader     112     15  served
_log_matches            no_prev_check              9    1.0  logs_match                            9    0.9  agree
_conflicts              erase_on_stale_append      4    0.5  nothing_fails                         4    0.4  died
_counts_answer          match_not_reset          300     23  matches_are_true                    633     84  died
_proven_match           ack_last_index             9    1.1  matches_are_true                      9    0.9  agree
_proven_commit          commit_past_prev           9    1.0  committed_stays                       9    0.9  agree
_may_commit             commit_old_term            1    0.0  only_the_leaders_term_is_counted           448
_is_prefix              snapshot_cuts_suffix     770     92  only_what_conflicts_goes                   433
_may_install            stale_snapshot            77    6.7  traces_follow_raft                  208     14  died
_read_index             readindex_no_noop         69    5.8  reads_are_not_stale                1362    127  kept
_is_confirmed           unconfirmed_reads          1    0.1  clients_are_served_in_the_end         1    0.0  served
_is_confirmed           local_read               307     23  reads_are_not_stale                1223    100  kept
_may_change_membership  single_change_early       39    3.1  members_change_one_at_a_time               442
_may_change_membership  two_changes_at_once       21    1.7  members_change_one_at_a_time               435

From outside 18 of 27 are seen. Clients cannot see the others for these reasons. A leader that is deposed for nothing
(`late_order`, `heed_every_candidate`) or that has no vote (`anyone_campaigns`) serves them all the same. Two leaders of
one term (`forget_vote`, `late_votes`) are so for some milliseconds, and a majority follows one of them. And what is
lost by `commit_old_term`, `single_change_early`, `two_changes_at_once` and `snapshot_cuts_suffix` takes schedules that
random ones do not come upon: Figure 8 of the paper, two majorities that share no node, and a fall of all who have what
was cut, before it is sent again. (`forget_vote` was walked with schedules in which nobody falls in a second reign.)

What is a line in a method and no rule by itself was taken out by hand, and seen within 20 seeds: that a vote given is
contact, and so is a start; that a message of an earlier term is refused; that a configuration goes back when its entry
is cut; that a leader steps down before it tells another to stand.
"""

from __future__ import annotations

import importlib
import pkgutil

from node.raft import Raft


def names() -> tuple[str, ...]:
    """Every flaw there is, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> type[Raft]:
    """The core with this flaw. Raises LookupError for a name that is none."""
    if name not in names():
        raise LookupError(f"there is no flaw {name!r}; there are {', '.join(names())}")
    flawed: type[Raft] = importlib.import_module(f"{__name__}.{name}").Flawed
    return flawed
