"""How functions become scenarios, and how scenarios are found."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest

from bench.case import Settings
from bench.checkers import SAFETY, logs_agree
from bench.cluster import NEEDS, Cluster
from bench.scenarios import SCENARIOS, ScenarioError, UnknownScenarioError, crashes, find, scenario
from bench.scenarios.registry import Scenario, gather, scenarios_of

HEADING = "from bench.scenarios import SAFETY, scenario\n"
FIRST = "@scenario(nodes=3, checks=SAFETY)\ndef first(cluster):\n    '''It is there.'''\n"
SECOND = FIRST.replace("first", "second")


def module_of(*parts: str) -> ModuleType:
    module = ModuleType("somebody's")
    exec(HEADING + "".join(parts), vars(module))
    return module


def made(**more: Any) -> tuple[Scenario, ...]:
    @scenario(**{"nodes": 3, "checks": SAFETY, **more})
    def story(cluster: Cluster) -> None:
        """What is promised.

        And what else there is to say.
        """

    return scenarios_of(story)


def test_the_first_line_of_a_docstring_is_the_promise() -> None:
    (member,) = made()
    assert (member.name, member.promise, member.checks) == ("story", "What is promised.", SAFETY)


def test_a_scenario_says_what_its_cluster_is_made_of() -> None:
    (member,) = made(spare=1, settings=Settings(trailing_logs=1, heartbeat_timeout_s=3, election_timeout_s=3))
    plan = member.plan(profile="tight", seed=7)
    assert (plan.nodes, plan.members, plan.seed) == (("n1", "n2", "n3", "n4"), ("n1", "n2", "n3"), 7)
    assert (plan.settings.trailing_logs, plan.settings.heartbeat_timeout_s) == (1, 0.1), "timings are the profile's"
    assert len(member.plan(5).members) == 5


def test_a_family_has_a_member_for_every_combination() -> None:
    @scenario(nodes=lambda size, **_: size, checks=[logs_agree], each={"size": [3, 5], "how": [min, max]})
    def grown(cluster: Cluster, size: int, how: object) -> None:
        """It grows."""

    names = [(member.name, member.family, member.nodes) for member in scenarios_of(grown)]
    assert names == [(f"grown[{size}-{how}]", "grown", size) for size in (3, 5) for how in ("min", "max")]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"needs": ["slow_disc"]}, f"nobody can need slow_disc; there are {', '.join(NEEDS)}"),
        ({"nodes": 0}, "1 <= minimum <= nodes <= 9"),
        ({"nodes": 10}, "1 <= minimum <= nodes <= 9"),
        ({"minimum": 4}, "1 <= minimum <= nodes <= 9"),
        ({"spare": -1}, "-1 nodes to spare"),
        ({"limit_s": 0}, "must be more than 0"),
        ({"limit_s": math.nan}, "must be more than 0"),
        ({"each": {"size": [3, "3"]}}, r"two scenarios are called story\[3\]"),
    ],
)
def test_what_nobody_can_play_is_refused_where_it_is_written(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        made(**wrong)


@pytest.mark.parametrize("docstring", [None, "", "\n   \n"])
def test_a_scenario_that_promises_nothing_is_refused(docstring: str | None) -> None:
    def story(cluster: Cluster) -> None:
        pass

    story.__doc__ = docstring
    with pytest.raises(ScenarioError, match="story has no docstring"):
        scenario(nodes=3, checks=SAFETY)(story)


def test_a_modules_scenarios_come_in_the_order_of_their_definition() -> None:
    assert list(gather(module_of(SECOND, FIRST))) == ["second", "first"]


def test_what_a_module_has_only_imported_is_another_modules() -> None:
    borrowed = "from bench.scenarios.crashes import kill_leader\nfrom bench.scenarios import crashes\n"
    assert list(gather(module_of(borrowed, FIRST))) == ["first"]


def test_a_second_name_for_a_scenario_makes_no_second_scenario() -> None:
    assert list(gather(module_of(FIRST, "other_name = first\n"))) == ["first"]


def test_two_scenarios_of_one_name_are_refused() -> None:
    with pytest.raises(ScenarioError, match="two scenarios are called first"):
        module_of(FIRST, SECOND, FIRST)
    shared = (
        "def story(cluster):\n    'It is.'\nfirst, second = (scenario(nodes=n, checks=SAFETY)(story) for n in (3, 5))"
    )
    with pytest.raises(ScenarioError, match="two scenarios are called story"):
        gather(module_of(shared))


def test_a_familys_name_means_all_its_members() -> None:
    assert len(find("split_brain", SCENARIOS)) == 27
    assert [scenario.name for scenario in find("kill_leader", SCENARIOS)] == ["kill_leader"]


def test_all_means_every_scenario_unless_one_is_called_so() -> None:
    assert find("all", SCENARIOS) == list(SCENARIOS.values())
    assert [one.name for one in find("all", gather(module_of(FIRST, FIRST.replace("first", "all"))))] == ["all"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["first", "grown[3-min]", "grown[5-min]"]),
        ("gr*", ["grown[3-min]", "grown[5-min]"]),
        ("gro?n", ["grown[3-min]", "grown[5-min]"]),
        ("*[5*]", ["grown[5-min]"]),
        ("grown[*min]", ["grown[3-min]", "grown[5-min]"]),
    ],
)
def test_a_pattern_means_what_it_fits_and_its_brackets_are_brackets(pattern: str, names: list[str]) -> None:
    grown = "@scenario(nodes=3, checks=SAFETY, each={'size': [3, 5], 'how': [min]})\n"
    there = gather(module_of(FIRST, grown + "def grown(cluster, size, how):\n    'It grows.'\n"))
    assert [scenario.name for scenario in find(pattern, there)] == names


@pytest.mark.parametrize("pattern", ["Gr*", "[fg]*", "*hold]", ""])
def test_a_pattern_that_fits_nothing_is_told_as_a_name_that_is_not_there(pattern: str) -> None:
    with pytest.raises(UnknownScenarioError, match="there is no scenario"):
        find(pattern, gather(module_of(FIRST)))


def test_a_scenario_that_is_not_there_is_told_with_the_nearest_and_where_all_are_listed() -> None:
    with pytest.raises(UnknownScenarioError, match=r"kill_leader.*See: python -m bench list"):
        find("kil_leader", SCENARIOS)
    with pytest.raises(UnknownScenarioError, match=r"kill_leader.*See: python -m bench list mine\.py"):
        find("kil_leader", gather(crashes), "python -m bench list mine.py")


def test_every_scenario_promises_something_and_is_checked() -> None:
    assert all(scenario.promise and scenario.checks for scenario in SCENARIOS.values())
