"""get, put and delete, before anybody is asked."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.commands import asking
from bench.operations import check_key

NO_KEYS = ["", "a/b", "/", ".", "..", "a\n", "\t", "a\x00b", "\x7f", "\x9b", "\u2028", "\udcff"]


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_no_url_carries_and_no_line_shows_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        check_key(key)


@pytest.mark.parametrize("key", ["a", " ", "...", "a.b", "ключ", "a%2Fb", "?", "#", "\N{ZERO WIDTH JOINER}"])
def test_everything_else_is_a_key(key: str) -> None:
    assert check_key(key) == key


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the bench was asked")

    monkeypatch.setattr(asking, "ask", asked)


@pytest.mark.parametrize("key", NO_KEYS)
@pytest.mark.parametrize("command", ["get", "put", "delete"])
def test_a_wrong_key_is_refused_in_one_line_and_nothing_is_sent(command: str, key: str) -> None:
    done = CliRunner().invoke(cli, [command, "--", key, *(["v"] if command == "put" else [])])
    assert (done.exit_code, len(done.stderr.splitlines()), done.stdout) == (2, 1, "")
    assert "is no key; a key is not empty, not . or .., and has no slash or control character" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["get"], "KEY"),
        (["put", "k"], "VALUE"),
        (["put", "k", "\udcff"], "is no text in UTF-8"),
        (["get", "k", "--consistency", "newest"], "'newest' is not one of 'default', 'leader', 'consistent'"),
        (["put", "k", "v", "w"], "unexpected extra argument"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line_and_nothing_is_sent(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, len(done.stderr.splitlines()), said in done.stderr) == (2, 1, True), done.stderr
