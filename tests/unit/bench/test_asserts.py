"""A failed assertion of a story says what stood on both of its sides."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from bench.scenarios import crashes
from bench.scenarios.asserts import compiled, explain_in

SOURCE = "def fails():\n    led = 'n1'\n    assert led in ('n9',), 'somebody else leads'\n"


def test_both_sides_stand_behind_the_authors_words() -> None:
    names: dict[str, object] = {}
    exec(compiled(SOURCE.encode(), "mine.py"), names)
    with pytest.raises(AssertionError) as caught:
        names["fails"]()  # type: ignore[operator]
    assert str(caught.value).splitlines() == ["somebody else leads", "assert 'n1' in ('n9',)"]


def test_a_module_of_a_package_is_explained_though_its_code_was_cached_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "explained_stories"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    importlib.import_module("explained_stories.mine")
    for name in ("explained_stories.mine", "explained_stories"):
        monkeypatch.delitem(sys.modules, name)
    explain_in("explained_stories")
    with pytest.raises(AssertionError, match=r"somebody else leads\nassert 'n1' in \('n9',\)"):
        importlib.import_module("explained_stories.mine").fails()


def test_our_own_stories_are_explained_too() -> None:
    code = compile(Path(crashes.__file__).read_text(), "plain", "exec")
    (plain,) = [found for found in code.co_consts if getattr(found, "co_name", "") == "hung_disk"]
    explained = crashes.hung_disk.__code__
    assert len(explained.co_names) > len(plain.co_names), "nothing tells of the values that an assertion compares"
