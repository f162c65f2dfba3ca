"""Seeds as they are asked for and told."""

from __future__ import annotations

import itertools

import pytest

from bench.seeds import MOST_TOLD, Counted, Seeds, SeedsError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("7-7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("0,5,7-9", [0, 5, 7, 8, 9]),
        (" 0, 5 , 7 - 9 ", [0, 5, 7, 8, 9]),
        ("9,2-4,3-5,9,6", [2, 3, 4, 5, 6, 9]),
        ("0-9,3", list(range(10))),
    ],
)
def test_numbers_and_ranges_are_each_seed_once_and_the_lowest_first(text: str, seeds: list[int]) -> None:
    found = Seeds.of(text)
    assert (list(found), len(found)) == (seeds, len(seeds))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no seed"),
        ("x", "'x' is no seed; write 7, or several as 0-99 or 0,5,7-9"),
        ("0,,5", "'' is no seed"),
        ("0,5,", "'' is no seed"),
        ("-5", "'-5' is no seed"),
        ("5-", "'5-' is no seed"),
        ("1-2-3", "'1-2-3' is no seed"),
        ("٣", "'٣' is no seed"),
        ("1,9-0", "'9-0' ends before it begins"),
        ("0-" + "9" * 5000, "a seed of more than 18 digits"),
    ],
)
def test_what_is_no_seed_is_said_to_be_none(text: str, words: str) -> None:
    with pytest.raises(SeedsError) as caught:
        Seeds.of(text)
    assert words in str(caught.value)


def test_as_many_seeds_as_there_are_take_no_time_to_be_asked_for() -> None:
    every = Seeds.of("0-" + "9" * 18)
    assert (len(every), list(itertools.islice(every, 3))) == (10**18, [0, 1, 2])


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([2, 5, 7], "2, 5, 7"),
        ([2, 3, 4, 9], "2-4, 9"),
        (range(0, 2 * MOST_TOLD, 2), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18"),
        (range(0, 2 * MOST_TOLD + 6, 2), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 3 more"),
        ([*range(0, 20, 2), 100, 101, 102], "0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 3 more"),
        (range(1_000_000), "0-999999"),
    ],
)
def test_many_seeds_are_told_shortly_and_those_in_a_row_as_a_range(seeds: list[int], words: str) -> None:
    counted = Counted()
    for seed in seeds:
        counted.add(seed)
    assert (str(counted), counted.count) == (words, len(seeds))
