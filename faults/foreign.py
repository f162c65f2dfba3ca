"""Names used from other projects' code that those projects never promised to keep.

Each such name is used in one place, which says for which version it was written, and a unit test checks that against
what is installed. After a change of version that test fails; without the test, an error says what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class ForeignNameGoneError(Exception):
    """A name used from another project's code is no longer there."""


@contextlib.contextmanager
def written_for(version: str) -> Iterator[None]:
    """The block looks up a name that `version` has. Raises ForeignNameGoneError when the name is not there."""
    try:
        yield
    except AttributeError as error:
        raise ForeignNameGoneError(f"{error}: this was written for {version}; install that, or mend this") from error


def replace(module: Any, name: str, replacement: object, *, version: str) -> None:
    """Make `module`, as of `version`, use `replacement` under `name`. Raises ForeignNameGoneError."""
    with written_for(version):
        getattr(module, name)
    setattr(module, name, replacement)
