"""What is taken from other people's code that they never promised to keep.

Each such name is touched in one place, which says what it was written for, and a unit test holds that against what is
installed. Whoever changes a version is told by that test; who does not run it, by a sentence with the way out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class ForeignNameGoneError(Exception):
    """What was taken from somebody else's code is no longer there."""


@contextlib.contextmanager
def written_for(version: str) -> Iterator[None]:
    """In here a name is looked up that `version` has. Raises ForeignNameGoneError when it is not there."""
    try:
        yield
    except AttributeError as error:
        raise ForeignNameGoneError(f"{error}: this was written for {version}; install that, or mend this") from error


def replace(module: Any, name: str, replacement: object, *, version: str) -> None:
    """Have `module` of `version` find `replacement` where it looks for `name`. Raises ForeignNameGoneError."""
    with written_for(version):
        getattr(module, name)
    setattr(module, name, replacement)
