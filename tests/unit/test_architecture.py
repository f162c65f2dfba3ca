"""The arrows of ARCHITECTURE.md, read from the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IO = {"asyncio", "flask", "logging", "multiprocessing", "os", "pathlib", "requests", "socket", "sqlite3", "subprocess"}
IO |= {"threading", "time", "waitress"}

FORBIDDEN = {
    "node": {"bench", "faults"},
    "faults": {"bench", "node"},
    "bench": {"node"},
    "node/raft": IO,
    "node/machine/kv.py": IO,
    "node/machine/state_machine.py": IO,
    "node/status.py": IO,
    "node/pending.py": IO,
    "node/changes.py": IO,
    "faults/cuts.py": IO,
    "faults/lasting.py": IO,
    "faults/links.py": IO,
    "faults/schedule.py": IO,
    "bench/checkers": IO,
    "bench/evidence.py": IO,
    "bench/history.py": IO,
    "bench/measure/result.py": IO,
    "bench/measure/statistics.py": IO,
    "bench/verdict.py": IO,
}
SIMULATED = Path("bench/simulated")
"""The one room of the bench that holds the node's own core."""
MAY_BE_SIMULATED = ("node.raft", "node.machine.kv", "node.machine.state_machine", "node.flaws")


def imported(source: str) -> Iterator[str]:
    """The top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def violations(source: str, forbidden: set[str]) -> set[str]:
    return set(imported(source)) & forbidden


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    path = ROOT / room
    files = [path] if path.is_file() else list(path.rglob("*.py"))
    assert files, f"{room} is gone; mend this table"
    found = {file.relative_to(ROOT): violations(file.read_text(), FORBIDDEN[room]) for file in files}
    found = {file: names for file, names in found.items() if room != "bench" or SIMULATED not in file.parents}
    assert not {str(file): names for file, names in found.items() if names}


def test_the_simulated_world_knows_of_the_node_what_is_pure() -> None:
    for file in (ROOT / SIMULATED).rglob("*.py"):
        modules = {
            node.module or ""
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "node"
        }
        assert {module for module in modules if not module.startswith(MAY_BE_SIMULATED)} == set(), file


def test_the_rule_sees_an_import_inside_a_function() -> None:
    assert violations("def f():\n    from node.raft import core\n", {"node"}) == {"node"}


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
