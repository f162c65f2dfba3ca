"""Help that lists names, and names that the shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

Names = Callable[[], Iterable[str]]
"""What there is; asked only when it is to be shown, since it may take long to import."""


def examples(*commands: str) -> str:
    """For the end of a help; each stays in a line of its own, so that it can be copied."""
    return "\n".join(["\b", "Examples:", *(f"  python -m bench {command}" for command in commands)])


class Listing(click.Command):
    """A command whose help ends with lists of names, by their titles."""

    def __init__(self, *arguments: Any, lists: Mapping[str, Names], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.lists = lists

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in self.lists.items():
            with formatter.section(title):
                formatter.write_text(", ".join(names()))
        super().format_epilog(ctx, formatter)


class Name(click.ParamType[str]):
    """One of these names, or something else that the command understands; where no name begins so, files do."""

    def __init__(self, name: str, names: Callable[[str], Iterable[str]]) -> None:
        self.name = name
        self.names = names
        """Those that something may be completed to."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in self.names(incomplete) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]
