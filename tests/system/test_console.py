"""Talk on stderr, results on stdout, a user's text as it is, and one process that speaks."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from llmkit.system import progress
from llmkit.system.console import count, duration, fail, result, say, table, warn
from llmkit.system.progress import Progress

pytestmark = pytest.mark.oldest

Captured = pytest.CaptureFixture[str]

# Markup, an emoji's code and backslashes, to rich; a path or a passage, to the user.
TEXT = r":smile: [bold]x[/bold] [red] \[y] 50 % C:\data[1]" + "\\"
LONG = "word " * 100


@pytest.mark.parametrize("text", [TEXT, LONG, "Zürich → 東京"])
def test_text_is_printed_as_it_is(text: str, capsys: Captured) -> None:
    result(text)
    say(text)
    warn(text)
    fail([text, "and another"], "z " + text)
    captured = capsys.readouterr()
    assert captured.out == f"{text}\n"
    assert captured.err == f"{text}\nwarning: {text}\nerror: {text}\nerror: and another\nZ {text}.\n"


def test_what_a_terminal_would_obey_is_shown(capsys: Captured) -> None:
    text = "a\x1b]0;owned\x07\x1b[2J\rb\nd\x9bx"
    result(text)
    warn(text)
    fail([text], text)
    table(["x"], [[text.replace("\n", "")]])
    captured = capsys.readouterr()
    for character in "\x1b\x07\r\x9b":
        assert character not in captured.out + captured.err
    assert captured.out.startswith("a\\x1b]0;owned\\x07\\x1b[2J\\x0db\nd\\x9bx\n")


def test_a_table_prints_its_cells_as_they_are(capsys: Captured) -> None:
    table(["name", ">f1"], [[TEXT, "7.00"], ["short", "10.00"]], title=TEXT)
    title, header, first, second = capsys.readouterr().out.splitlines()
    assert title.rstrip() == TEXT
    assert header.split() == ["name", "f1"]
    assert first.startswith(TEXT)
    assert first.endswith(" 7.00"), "numbers are aligned on the right"
    assert second.endswith("10.00")


def test_a_table_is_not_cut(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is a line where no terminal says how wide one is; where one does, cells wrap, and keep all they say."""
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [["abcdefgh" * 6, "word " * 20, "1.00"]]
    table(["name", "what", ">f1"], rows)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setenv("COLUMNS", "40")
    table(["name", "what", ">f1"], rows)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40
    assert "…" not in out
    assert out.count("a") == 6 + 2  # and those of the header
    assert out.count("word") == 20


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    result("a")
    say("b")
    warn("c")
    table(["d"], [["e"]])
    with Progress("f") as line:
        line({"g": 1})
    assert capsys.readouterr() == ("", "")
    fail(["an error"], "correct it")  # which is worth hearing of from any process
    assert "an error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("show", "number", "text"),
    [
        (duration, 0, "0 s"),
        (duration, 59.4, "59 s"),
        (duration, 60, "1:00"),
        (duration, 3599.7, "1:00:00"),
        (duration, 90061, "25:01:01"),
        (count, 0, "0"),
        (count, 999, "999"),
        (count, 1000, "1.0k"),
        (count, 2.5e9, "2.5G"),
        (count, 960_000, "960.0k"),
        (count, 999_950, "1.0M"),
        (duration, 59.7, "1:00"),
    ],
)
def test_numbers_for_people(show: Callable[[float], str], number: float, text: str) -> None:
    assert show(number) == text


def test_results_can_be_piped(capsys: Captured) -> None:
    result("[1, 2]")
    assert not sys.stdout.isatty()
    assert "\x1b" not in capsys.readouterr().out
