"""A user's own scenario file: how it is found and loaded, and how its mistakes are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench.scenarios
from bench.scenarios import UnknownScenarioError
from bench.scenarios.files import UserCodeError, UserFileError, load, named

GOOD = """
from __future__ import annotations
from dataclasses import dataclass
from bench.scenarios import SAFETY, Cluster, scenario

@dataclass
class Plan:
    key: str

@scenario(nodes=3, checks=SAFETY, each={"key": ["a", "b"]})
def mine(cluster: Cluster, key: str) -> None:
    "It is kept."

@scenario(nodes=5, checks=SAFETY)
def other(cluster: Cluster) -> None:
    "It is kept too."
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes, name: str = "my_scenarios.py") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def test_a_file_stands_for_all_its_scenarios_in_their_order(write: Write) -> None:
    path = write(GOOD)
    found = named([str(path)])
    assert [scenario.name for scenario in found] == ["mine[a]", "mine[b]", "other"]
    assert {scenario.file for scenario in found} == {path}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mine", ["mine[a]", "mine[b]"]),
        ("mine[b]", ["mine[b]"]),
        ("other", ["other"]),
        ("m*", ["mine[a]", "mine[b]"]),
        ("*[b]", ["mine[b]"]),
        ("all", ["mine[a]", "mine[b]", "other"]),
    ],
)
def test_some_scenarios_of_a_file_are_named_behind_it(write: Write, name: str, meant: list[str]) -> None:
    assert [scenario.name for scenario in named([f"{write(GOOD)}::{name}"])] == meant


def test_whatever_is_named_twice_is_meant_once_where_it_was_named_first(write: Write) -> None:
    path = write(GOOD)
    again = path.parent / "else" / ".." / path.name
    (path.parent / "else").mkdir()
    found = named([f"{path}::other", str(again), "kill_leader", str(path), "kill_*leader"])
    assert [scenario.name for scenario in found] == ["other", "mine[a]", "mine[b]", "kill_leader"]


def test_files_and_names_of_the_benchs_own_stand_beside_one_another_in_the_order_asked_for(write: Write) -> None:
    path = write(GOOD)
    found = named([f"{path}::other", "kill_leader", f"{path}::mine[a]"])
    assert [(scenario.name, scenario.file) for scenario in found] == [
        ("other", path),
        ("kill_leader", None),
        ("mine[a]", path),
    ]


def test_a_file_that_is_named_twice_is_loaded_once(write: Write, tmp_path: Path) -> None:
    counting = f"with open({str(tmp_path / 'loads')!r}, 'a') as loads:\n    loads.write('x')\n"
    path = write(GOOD + counting)
    named([f"{path}::mine", f"{path}::other"])
    assert (tmp_path / "loads").read_text() == "x"


def test_a_file_is_found_from_where_the_user_stands(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(GOOD)
    monkeypatch.chdir(path.parent)
    assert {scenario.file for scenario in named(["my_scenarios.py"])} == {path}


def test_a_file_finds_what_lies_beside_it_and_leaves_the_path_as_it_was(write: Write) -> None:
    write("KEY = 'x'\n", "beside_my_scenarios.py")
    former = list(sys.path)
    assert len(load(write(GOOD + "from beside_my_scenarios import KEY\n"))) == 3
    assert sys.path == former


def test_a_file_that_was_mended_is_read_anew(write: Write) -> None:
    assert len(load(write(GOOD))) == 3
    assert list(load(write(GOOD.replace("def other", "def mended")))) == ["mine[a]", "mine[b]", "mended"]


def test_two_files_of_one_name_are_two_files(write: Write, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    here, there = write(GOOD), write(GOOD.replace("other", "another"), "there/my_scenarios.py")
    assert [scenario.name for scenario in named([f"{here}::other", f"{there}::another"])] == ["other", "another"]


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ("def f(:\n", "def f(:", "SyntaxError: invalid syntax"),
        ("import no_such_thing\n", "import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("from bench.scenarios import nothing\n", "import nothing", "ImportError: cannot import name 'nothing'"),
        ("def f():\n    return {}['k']\nf()\n", "return {}['k']", "KeyError: 'k'"),
        ("import sys\nsys.exit(0)\n", "sys.exit(0)", "SystemExit: 0"),
        ("open('/no/such/file')\n", "open(", "FileNotFoundError"),
        (GOOD.replace("each=", "every="), "@scenario(nodes=3", "unexpected keyword argument 'every'"),
        (GOOD.replace("each=", "needs=['luck'], each="), "@scenario(nodes=3", "nobody can need luck; there are"),
        (GOOD.replace('"It is kept too."', "pass"), "@scenario(nodes=5", "other has no docstring"),
        (GOOD.replace("def other", "def mine"), "@scenario(nodes=5", "two scenarios are called mine"),
        (b"x = 'caf\xe9'\n", "x = 'caf", "SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xe9"),
        (b"x = 1\0\n", "", "null bytes"),
    ],
)
def test_a_mistake_in_a_file_is_told_as_python_tells_it(
    write: Write, content: str | bytes, line: str, told: str
) -> None:
    path = write(content)
    with pytest.raises(UserCodeError) as error:
        load(path)
    text = str(error.value)
    assert line in text
    assert told in text.splitlines()[-1]
    files = [words.split('"')[1] for words in text.splitlines() if words.startswith('  File "')]
    assert set(files) <= {str(path)}, "the bench's own frames are no help"


def test_a_mistake_in_what_lies_beside_a_file_is_told_with_both_lines(write: Write) -> None:
    write("1 / 0\n", "broken_beside.py")
    with pytest.raises(UserCodeError, match=r"(?s)my_scenarios\.py.*broken_beside\.py.*ZeroDivisionError"):
        load(write("import broken_beside\n"))


def test_what_went_wrong_before_is_told_without_the_benchs_frames_too(write: Write) -> None:
    content = "from bench.scenarios import Settings\ntry:\n    Settings(heartbeat_timeout_s=9)\nfinally:\n    1 / 0\n"
    with pytest.raises(UserCodeError) as error:
        load(write(content))
    assert "heartbeat_timeout_s >= leader_lease_timeout_s must hold" in str(error.value)
    assert "bench/case.py" not in str(error.value)


def test_a_file_that_never_ends_is_given_up_at_its_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scenarios.files.LOADING_S", 0.1)
    with pytest.raises(UserCodeError, match=r"(?s)line 2, in <module>.*still running after 0\.1 s"):
        load(write("import time\ntime.sleep(600)\n"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1\n", "has no scenario"),
        ("from bench.scenarios.crashes import kill_leader\n", "has no scenario"),
        (GOOD + "mine_too = scenario(nodes=3, checks=SAFETY)(other)\n", "two scenarios are called other"),
    ],
)
def test_a_file_without_scenarios_of_its_own_is_refused(write: Write, content: str, words: str) -> None:
    with pytest.raises((UserFileError, UserCodeError), match=words):
        load(write(content))


def test_a_file_that_is_not_there_or_no_file_or_not_to_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserFileError, match=r"mine\.py is not there"):
        named([str(tmp_path / "mine.py")])
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserFileError, match=r"folder\.py is no file"):
        named([str(tmp_path / "folder.py")])


def test_a_name_that_is_not_in_the_file_is_told_with_those_that_are(write: Write) -> None:
    path = write(GOOD)
    with pytest.raises(UnknownScenarioError, match=rf"'othre'; did you mean other.*bench list {path}"):
        named([f"{path}::othre"])
    with pytest.raises(UnknownScenarioError, match=rf"there is no scenario ''\. See: python -m bench list {path}"):
        named([f"{path}::"])


def test_all_that_a_story_is_told_with_comes_from_one_place() -> None:
    exported = vars(bench.scenarios)
    assert [name for name in bench.scenarios.__all__ if name not in exported] == []
