"""Scenarios in a file of the user's own: ``my_scenarios.py``, or some of them, ``my_scenarios.py::name``.

The file may lie anywhere, and finds what lies beside it, as a script does. A mistake in it is the user's to mend, so it
is told as Python tells it: with the user's line, and without the way that the bench took there.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from bench.limits import LimitReachedError, time_limit
from bench.mistakes import as_python_tells
from bench.scenarios import SCENARIOS
from bench.scenarios.asserts import compiled
from bench.scenarios.registry import Scenario, ScenarioError, find, gather

LOADING_S = 60.0
"""So long a file may take to say what scenarios it has."""


class UserFileError(Exception):
    """There are no scenarios to be had from this file; the text says why."""


class UserCodeError(Exception):
    """The code of this file failed. The text is what Python says of that."""


def named(arguments: Iterable[str]) -> list[Scenario]:
    """What is meant by these, in their order, each scenario once: whatever `find` understands, of the bench's own
    scenarios; files, which stand for all their scenarios; and ``file.py::name``, of which `find` understands the name.
    Each file is loaded once.

    Raises UnknownScenarioError, UserFileError and UserCodeError.
    """
    files: dict[Path, Mapping[str, Scenario]] = {}
    found: list[Scenario] = []
    for argument in arguments:
        path, separator, name = argument.partition("::")
        if not path.endswith(".py"):
            found += find(argument, SCENARIOS)
            continue
        file = Path(path).resolve()
        if file not in files:
            files[file] = load(Path(path).absolute())
        found += find(name, files[file], f"python -m bench list {path}") if separator else files[file].values()
    return list({(scenario.file, scenario.name): scenario for scenario in found}.values())


def load(path: Path) -> dict[str, Scenario]:
    """The scenarios that the file defines, by name, in their order. Raises UserFileError and UserCodeError."""
    module = executed(path)
    return {name: replace(scenario, file=path) for name, scenario in _gathered(module, path).items()}


def executed(path: Path) -> ModuleType:
    """The file as a module. Raises UserFileError and UserCodeError."""
    if not path.is_file():
        raise UserFileError(f"{path} is {'no file' if path.exists() else 'not there'}")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserFileError(f"{path} cannot be read: {error.strerror}") from error
    module = ModuleType(str(path.with_suffix("")).replace(".", "_"))
    module.__file__ = str(path)
    try:
        with time_limit(LOADING_S), _as_a_script_is(module, path.parent):
            exec(compiled(source, str(path)), vars(module))
    except (Exception, SystemExit, LimitReachedError) as error:
        raise UserCodeError(as_python_tells(error)) from error
    return module


@contextlib.contextmanager
def _as_a_script_is(module: ModuleType, folder: Path) -> Iterator[None]:
    """While it is loaded it finds what lies beside it. Classes find their module by name, also later."""
    sys.path.insert(0, str(folder))
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _gathered(module: ModuleType, path: Path) -> dict[str, Scenario]:
    try:
        found = gather(module)
    except ScenarioError as error:
        raise UserFileError(f"{path}: {error}") from error
    if not found:
        raise UserFileError(f"{path} has no scenario: no function there is marked with @scenario of bench.scenarios")
    return found
