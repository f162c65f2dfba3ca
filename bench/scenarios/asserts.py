"""Stories are compiled so that a failed assertion says what stood on both of its sides, as under pytest.

Python's own AssertionError says nothing of the values, and they cannot be had afterwards: to ask the cluster a second
time would be another story. So the code of stories goes through pytest's rewriting of assertions, a user's file when it
is loaded (`files`) and our own modules when they are imported (`explain_in`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from _pytest.assertion.rewrite import rewrite_asserts


def compiled(source: bytes, path: str) -> CodeType:
    """The code of a file of stories. Raises SyntaxError, and ValueError for a null byte.

    Written for pytest 9.2, whose function has been the same since 5.0.
    """
    tree = compile(source, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    rewrite_asserts(tree, source, path)
    return compile(tree, path, "exec", dont_inherit=True)


def explain_in(package: str) -> None:
    """From now on the modules of this package are compiled so when they are imported."""
    sys.meta_path.insert(0, _Finder(f"{package}."))


class _Finder(MetaPathFinder):
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(self._prefix) else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compiled anew each time: the cached file of a module has its assertions as Python compiles them."""
        path = self.get_filename(fullname)
        return compiled(self.get_data(path), path)
