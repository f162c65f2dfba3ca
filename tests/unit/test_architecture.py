"""The arrows of ARCHITECTURE.md, read from the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("node", "faults", "bench")
IO = {"asyncio", "click", "ctypes", "fcntl", "filelock", "flask", "http", "logging", "multiprocessing", "os", "pathlib"}
IO |= {"psutil", "requests", "resource", "rich", "select", "selectors", "shutil", "signal", "socket", "sqlite3"}
IO |= {"subprocess", "sys", "tempfile", "threading", "time", "toxiproxy", "urllib3", "waitress", "werkzeug"}

FORBIDDEN = {
    "node": {"bench", "faults"},
    "faults": {"bench", "node"},
    "bench": {"node"},
    "node/raft": IO,
    "node/machine": IO,
    "node/flaws": IO,
    "node/errors.py": IO,
    "node/status.py": IO,
    "node/pending.py": IO,
    "node/changes.py": IO,
    "node/server.py": IO,
    "node/questions.py": IO,
    "node/records.py": IO,
    "node/snapshots.py": IO,
    "node/errors.py": IO,
    "node/web/hosts.py": IO,
    "faults/cuts.py": IO,
    "faults/links.py": IO,
    "faults/schedule.py": IO,
    "bench/checkers": IO,
    "bench/evidence.py": IO,
    "bench/history.py": IO,
    "bench/measure/result.py": IO,
    "bench/measure/statistics.py": IO,
    "bench/verdict.py": IO,
    "bench/workload.py": IO,
}
"""What a room may not import. What is not ours it may not reach either, through whatever it imports of ours."""
SIMULATED = Path("bench/simulated")
"""The one room of the bench that holds the node's own core."""
MAY_BE_SIMULATED = ("node.server", "node.raft", "node.machine", "node.flaws")


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


OURS = {module_of(file): file for room in ROOMS for file in (ROOT / room).rglob("*.py")}


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All below, but what only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from at_run_time(ast.Module(child.orelse, []))
        else:
            yield child
            yield from at_run_time(child)


def imported(source: str) -> Iterator[str]:
    """The modules that a file imports, wherever in it; what is taken from a module counts as one, as it may be."""
    for node in at_run_time(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def loaded_by(module: str) -> frozenset[str]:
    """What is loaded at once when a module of ours is: what it imports, and the packages that it lies in."""
    packages = {module.rpartition(".")[0]} - {""}
    return frozenset(packages | set(imported(OURS[module].read_text())))


def ways_from(module: str) -> dict[str, tuple[str, ...]]:
    """Every module that importing this one loads, and the shortest way there; what is not ours is not followed."""
    ways: dict[str, tuple[str, ...]] = {module: (module,)}
    waiting = [module]
    for here in waiting:
        for there in sorted(loaded_by(here) - set(ways)):
            ways[there] = (*ways[here], there)
            if there in OURS:
                waiting.append(there)
    return ways


def violations(ways: dict[str, tuple[str, ...]], forbidden: set[str]) -> list[str]:
    """The ways to what is forbidden, of which those to our own rooms count that are one step long."""
    tops = {module: module.partition(".")[0] for module in ways}
    return [
        " -> ".join(way)
        for module, way in ways.items()
        if tops[module] in forbidden and (tops[module] not in ROOMS or len(way) == 2)
    ]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_reaches_only_what_it_may(room: str) -> None:
    path = ROOT / room
    files = [path] if path.is_file() else list(path.rglob("*.py"))
    assert files, f"{room} is gone; mend this table"
    if room == "bench":
        files = [file for file in files if ROOT / SIMULATED not in file.parents]
    assert [way for file in files for way in violations(ways_from(module_of(file)), FORBIDDEN[room])] == []


def test_the_simulated_world_knows_of_the_node_what_is_pure() -> None:
    for file in (ROOT / SIMULATED).rglob("*.py"):
        modules = {
            node.module or ""
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "node"
        }
        assert {module for module in modules if not module.startswith(MAY_BE_SIMULATED)} == set(), file


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("def f():\n    from node.raft import core\n", {"node.raft", "node.raft.core"}),
        ("try:\n    import os.path as p\nexcept ImportError:\n    import time\n", {"os.path", "time"}),
        ("if TYPE_CHECKING:\n    import os\nelse:\n    import time\n", {"time"}),
        ("import typing\nif typing.TYPE_CHECKING:\n    import os\n", {"typing"}),
    ],
)
def test_an_import_is_seen_wherever_it_stands_unless_it_never_happens(source: str, seen: set[str]) -> None:
    assert set(imported(source)) == seen


def test_the_rule_sees_what_is_reached_through_what_is_imported() -> None:
    """A schedule imported this for the name of a mode, and with it all that it takes to cut a link."""
    found = violations(ways_from("faults.network"), IO)
    assert "faults.network -> faults.toxiproxy -> faults.processes -> multiprocessing" in found
    assert "faults.network -> threading" in found


def test_a_package_is_loaded_with_what_lies_in_it() -> None:
    assert {"node", "node.raft"} <= set(ways_from("node.raft.log"))


def test_of_our_own_rooms_only_the_next_step_counts() -> None:
    """Who starts the simulated world does not import the node by that."""
    assert violations({"bench.a": ("bench.a",), "node.b": ("bench.a", "bench.c", "node.b")}, {"node"}) == []
    assert violations({"bench.a": ("bench.a",), "node.b": ("bench.a", "node.b")}, {"node"}) == ["bench.a -> node.b"]


@pytest.mark.parametrize("file", ["node/wire.py", "node/web/http.py", "node/identity.py", "bench/live/control.py"])
def test_where_many_threads_decode_the_decoder_is_made_beforehand(file: str) -> None:
    """`msgspec.json.decode(..., type=T)` prepares T on first use, and two threads that both do crash the process."""
    calls = [node.func for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.Call)]
    assert "msgspec.json.decode" not in {ast.unparse(call) for call in calls}


def test_randomness_reaches_the_core_only_through_its_constructor() -> None:
    for file in (ROOT / "node/raft").rglob("*.py"):
        calls = [
            node.attr
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
        ]
        assert set(calls) <= {"Random"}, file
