"""The stories in tests/unit/testdata: each must go on as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.raft.transcript import play

STORIES = sorted((Path(__file__).parents[1] / "testdata").glob("*.txt"))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.stem)
def test_the_story_goes_as_it_is_written(story: Path, request: pytest.FixtureRequest) -> None:
    written = story.read_text()
    told = play(written)
    if request.config.getoption("--regenerate"):
        story.write_text(told)
    else:
        assert told.splitlines() == written.splitlines(), f"read the difference; then: pytest --regenerate {story.name}"


def test_a_story_that_was_changed_is_told_apart() -> None:
    written = "> cluster 1\n    n1: Follower in term 7\n"
    assert play(written) != written
    assert play(play(written)) == play(written)
