"""The arrows of ARCHITECTURE.md, read from the imports."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
parsed = cache(ast.parse)
"""Each file is asked several things, and nobody changes what was read."""
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
    "node/web/bodies.py": IO,
    "node/web/descriptions.py": IO,
    "node/web/endpoints.py": IO,
    "node/web/hosts.py": IO,
    "node/web/replies.py": IO,
    "faults/cuts.py": IO,
    "faults/lasting.py": IO,
    "faults/links.py": IO,
    "bench/calls.py": IO,
    "bench/case.py": IO,
    "bench/checkers": IO,
    "bench/commands/changes.py": IO,
    "bench/evidence.py": IO,
    "bench/history.py": IO,
    "bench/history_formats.py": IO,
    "bench/measure/histories.py": IO,
    "bench/measure/result.py": IO,
    "bench/measure/statistics.py": IO,
    "bench/models.py": IO,
    "bench/operations.py": IO,
    "bench/picture.py": IO,
    "bench/schedule.py": IO,
    "bench/search/stories.py": IO,
    "bench/seal.py": IO,
    "bench/seeds.py": IO,
    "bench/verdict.py": IO,
    "bench/words.py": IO,
    "bench/workload.py": IO,
}
"""What a room may not import. What is not ours it may not reach either, through whatever it imports of ours."""
SIMULATED = Path("bench/simulated")
"""The one room of the bench that holds the node's own core."""
MAY_BE_SIMULATED = ("node.server", "node.raft", "node.machine", "node.flaws", "node.web.endpoints", "node.web.replies")


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
    for node in at_run_time(parsed(source)):
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
        modules = {module for module in imported(file.read_text()) if module in OURS and module.startswith("node.")}
        assert {module for module in modules if not _lies_in(module, MAY_BE_SIMULATED)} == set(), file


OF_OUR_OWN = ("konsul", "/kv", "/cluster")
"""By what a file shows that it knows our own system."""
OF_ANY_SYSTEM = ("bench.systems.protocol", "bench.systems.find_system")


@pytest.mark.parametrize("room", ["bench/live", "bench/measure"])
def test_what_drives_a_cluster_knows_of_a_system_what_any_is(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        source = file.read_text()
        assert [word for word in OF_OUR_OWN if word in source.lower()] == [], file
        modules = {module for module in imported(source) if module.startswith("bench.systems.")}
        assert [module for module in modules if not _lies_in(module, OF_ANY_SYSTEM)] == [], file


def _lies_in(module: str, rooms: Collection[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


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


HELPERS = {
    "faults/lifeline.py: let_forkserver_end": {"_forkserver", "_forkserver_alive_fd"},
    "bench/systems/module.py: close_write_end": {"_writer"},
    "bench/systems/module.py: await_the_last": {"_receive_thread"},
}
"""Where something private of other people's code is touched, and nowhere else."""
REPLACING = {"faults/foreign.py"}
"""Where an attribute of other people's code is set, and nowhere else."""
PROMISED = {"_asdict", "_exit", "_fields", "_make", "_replace"}
"""Names that the standard library documents in spite of their looks."""
HOOKS = {"sys.unraisablehook", "threading.excepthook"}
"""Attributes that the standard library documents as to be set."""
BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.endswith("__") and name not in PROMISED | {"_"}


def is_itself(node: ast.expr, classes: Collection[str] = ()) -> bool:
    """Whether it is the object or the class whose method this is, or one of these classes."""
    return ast.unparse(node) in ("self", "cls", "super()", *classes)


def classes_of(tree: ast.AST) -> set[str]:
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def defined(tree: ast.AST) -> set[str]:
    """The private names that a file gives: to functions, classes and variables, and to attributes of its objects."""
    found = classes_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_itself(node.value):
            found.add(node.attr)
    return set(filter(is_private, found))


def touched(tree: ast.AST, classes: Collection[str]) -> Iterator[tuple[str, bool]]:
    """The private names that code asks an object or a module for, and whether it asks itself or one of `classes`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr, is_itself(node.value, classes)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from ((part, False) for alias in node.names for part in alias.name.split(".") if is_private(part))
        elif (
            isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME and isinstance(node.args[1], ast.Constant)
        ):
            name = node.args[1].value
            if is_private(name):
                yield str(name), is_itself(node.args[0], classes)


def foreign_names(source: str, ours: set[str]) -> dict[str, set[str]]:
    """By the function or class that asks for them: the private names that are not given in this file; nor, where an
    object of its own is asked, which may have inherited them, anywhere in `ours`."""
    tree = parsed(source)
    here, classes = defined(tree), classes_of(tree)
    found: dict[str, set[str]] = defaultdict(set)
    for part in tree.body:
        for name, of_itself in touched(part, classes):
            if name not in here and not (of_itself and name in ours):
                found[getattr(part, "name", "the module")].add(name)
    return found


def replaced(source: str) -> set[str]:
    """The attributes that a file sets on what it has imported, or by name on what is not itself."""
    tree = parsed(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {(alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names}
    found = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node).partition(".")[0] in names
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr"]
    return found | {ast.unparse(call) for call in calls if not is_itself(call.args[0])}


def test_what_is_private_of_other_peoples_code_is_touched_by_its_one_guarded_helper() -> None:
    ours = set().union(*(defined(parsed(file.read_text())) for file in OURS.values()))
    found = {
        f"{file.relative_to(ROOT)}: {where}": names
        for file in OURS.values()
        for where, names in foreign_names(file.read_text(), ours).items()
    }
    assert found == HELPERS


def test_other_peoples_code_is_changed_in_one_place() -> None:
    found = {str(file.relative_to(ROOT)): replaced(file.read_text()) - HOOKS for file in OURS.values()}
    assert {file for file, names in found.items() if names} == REPLACING


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(queue):\n    queue._writer.close()", {"f": {"_writer"}}),
        ("class A:\n    def f(self):\n        return self.queue._writer", {"A": {"_writer"}}),
        ("class A(B):\n    def f(self):\n        return self._popen", {"A": {"_popen"}}),
        ("import forkserver\nforkserver._forkserver = None", {"the module": {"_forkserver"}}),
        ("from concurrent.futures import _base", {"the module": {"_base"}}),
        ("import _thread", {"the module": {"_thread"}}),
        ("def f(x):\n    return getattr(x, '_y', None)", {"f": {"_y"}}),
        ("class A:\n    def __init__(self, b):\n        self._x = b._x", {}),
        ("class A(B):\n    def f(self):\n        return self._inherited + super()._inherited", {}),
        ("import os\nos._exit(1)\nx._replace(a=1)\nx.__dict__", {}),
    ],
)
def test_a_private_name_that_nobody_here_has_given_is_seen(source: str, names: dict[str, set[str]]) -> None:
    assert foreign_names(source, {"_inherited"}) == names


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import toxiproxy.api\ntoxiproxy.api.requests = 1", {"toxiproxy.api.requests"}),
        ("from toxiproxy.api import APIConsumer as A\nA.host, A.port = 1, 2", {"A.host", "A.port"}),
        ("def f(x):\n    setattr(x, name, 1)", {"setattr(x, name, 1)"}),
        ("import a\nclass B:\n    def f(self, b):\n        self.a = b.a = 1\n        setattr(self, 'c', 2)", set()),
    ],
)
def test_an_attribute_set_on_what_was_imported_is_seen(source: str, seen: set[str]) -> None:
    assert replaced(source) == seen


@pytest.mark.parametrize(
    "file",
    [
        "node/wire.py",
        "node/web/http.py",
        "node/web/bodies.py",
        "node/identity.py",
        "bench/live/control.py",
        "bench/systems/konsul_http.py",
    ],
)
def test_where_many_threads_decode_the_decoder_is_made_beforehand(file: str) -> None:
    """`msgspec.json.decode(..., type=T)` prepares T on first use, and two threads that both do crash the process."""
    calls = [node.func for node in ast.walk(parsed((ROOT / file).read_text())) if isinstance(node, ast.Call)]
    assert "msgspec.json.decode" not in {ast.unparse(call) for call in calls}


def test_randomness_reaches_the_core_only_through_its_constructor() -> None:
    for file in (ROOT / "node/raft").rglob("*.py"):
        calls = [
            node.attr
            for node in ast.walk(parsed(file.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
        ]
        assert set(calls) <= {"Random"}, file


FIELDS = {"current_term", "voted_for", "log", "role", "leader", "commit_index", "last_applied", "snapshot"}
"""Of the core (`node.raft.state`)."""


def written_from_outside(source: str) -> set[str]:
    """Fields of a core that code sets, on whatever is called a core or has one."""
    return {
        ast.unparse(node)
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr in FIELDS
        and ast.unparse(node.value).endswith(("raft", "core"))
    }


def test_only_the_core_writes_its_fields() -> None:
    files = [file for room in ("node", "bench") for file in (ROOT / room).rglob("*.py")]
    assert not {file: found for file in files if (found := written_from_outside(file.read_text()))}
    source = "self.raft.role = 1\nprocess.raft.log.x = 2\na, core.leader = 3, 4\nself.role = 5"
    assert written_from_outside(source) == {"self.raft.role", "core.leader"}
