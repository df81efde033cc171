"""Progress: bars that fit on a terminal, plain lines elsewhere, and rates that can be read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from llmkit.system import bars, console, progress
from llmkit.system.progress import Course, Progress, Rate

pytestmark = pytest.mark.oldest

Captured = pytest.CaptureFixture[str]
Screen = Callable[..., io.StringIO]
PARTS = {"step": "840/2,000", "loss": "2.345", "tokens/s": "15.3k", "real": "97%", "": ":tada: [bold]"}
WIDE = "step 840/2,000  loss 2.345  tokens/s 15.3k  real 97%  :tada: [bold]"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets what time it is, in seconds."""
    now = [0.0]
    monkeypatch.setattr("llmkit.system.progress.time.monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Opens a terminal."""

    def open_(width: int, **options: object) -> io.StringIO:
        file = io.StringIO()
        terminal = Console(file=file, force_terminal=True, width=width, highlight=False, soft_wrap=True, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(progress, "_stderr", terminal)
        monkeypatch.setattr(console, "_stderr", terminal)
        return file

    return open_


def drawn(file: io.StringIO) -> list[str]:
    """What a terminal would show after the latest frame: the lines since the cursor was last sent up or back."""
    assert bars._latest is not None
    file.truncate(file.seek(0))
    bars._latest.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    return [line.rstrip() for line in text.replace("\r", "").split("\n") if line.strip()]


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (120, f"{WIDE}  left 1:30"),
        (80, "step 840/2,000  loss 2.345  tokens/s 15.3k  left 1:30"),
        (60, "step 840/2,000  loss 2.345  left 1:30"),
        (40, "left 1:30"),
    ],
)
def test_a_bar_fits_on_its_line(width: int, told: str, screen: Screen) -> None:
    file = screen(width)
    with Progress("finetune") as line:
        line(PARTS, 0.42, 90)
        (shown,) = drawn(file)
    assert len(shown) <= width
    assert re.fullmatch(rf"finetune [━╸╺]+  42% {re.escape(told)}", shown), shown


def test_work_of_unknown_length(screen: Screen) -> None:
    file = screen(80)
    with Progress("checking") as line:
        line({"": "4,000 rows"})
        (shown,) = drawn(file)
    assert re.fullmatch(r"checking [━╸╺]+ +4,000 rows", shown), shown


def test_work_within_work_is_below_it_and_messages_above(screen: Screen) -> None:
    file = screen(80)
    with Progress("finetune") as line:
        line({"step": 5}, 0.5)
        with Course("evaluating", 500, "features") as course:
            course.part(500)(100, 400)
            upper, lower = drawn(file)
        console.say("step 5: f1 80")
        assert "step 5: f1 80\n" in file.getvalue()
        (alone,) = drawn(file)
    assert upper.startswith("finetune   ━")
    assert "50% step 5" in upper
    assert lower.startswith("evaluating ━")
    assert "25% 125 of 500 features" in lower
    assert alone.startswith("finetune ━")
    assert "\x1b[?25h" in file.getvalue(), "the cursor is back"


def test_results_stay_on_stdout_while_a_bar_is_shown(screen: Screen, capsys: Captured) -> None:
    file = screen(80)
    with Progress("working") as line:
        line({}, 0.5)
        console.print_json([1, 2])
    assert json.loads(capsys.readouterr().out) == [1, 2]
    assert "[" not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


def test_without_colours(screen: Screen) -> None:
    file = screen(60, no_color=True)
    with Progress("working") as line:
        line({"step": 5}, 0.5)
        (shown,) = drawn(file)
    assert re.fullmatch(r"working ━━━━ +50% step 5.*", shown), shown
    assert "\x1b[3" not in file.getvalue()


def test_a_dumb_terminal_gets_plain_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    file = screen(80, _environ={"TERM": "dumb"})
    with Progress("working") as line:
        line({"step": 5}, 0.5, 90)
    assert file.getvalue() == "working  step 5  left 1:30\n"


def test_a_plain_line_every_few_seconds(clock: Callable[[float], None], capsys: Captured) -> None:
    with Progress("working") as line:
        for second in range(12):
            clock(second)
            line({"step": second})
    assert capsys.readouterr().err.splitlines() == ["working  step 5", "working  step 10"]


def test_the_time_left_follows_from_the_share(clock: Callable[[float], None], capsys: Captured) -> None:
    with Progress("working") as line:
        line.begin(0.4)  # before a resume, which says nothing of the speed
        clock(10)
        line({}, 0.5)
    assert capsys.readouterr().err.splitlines() == ["working  left 50 s"]


def test_inference_is_measured_by_tokens(clock: Callable[[float], None], capsys: Captured) -> None:
    with Course("predicting", 1000, "texts", done=500) as course:
        advance = course.part(250)
        clock(10)
        advance(4000, 8000)
        clock(20)
        advance(8000, 8000)
        advance = course.part(250)
        clock(30)
        advance(2000, 4000)
    assert capsys.readouterr().err.splitlines() == [
        "predicting  625 of 1,000 texts  tokens/s 400  left 30 s",
        "predicting  750 of 1,000 texts  tokens/s 400  left 20 s",
        "predicting  875 of 1,000 texts  tokens/s 299  left 10 s",
    ]


def test_a_rate_follows_slowly_and_leaves_out_what_is_skipped(clock: Callable[[float], None]) -> None:
    rate = Rate()
    assert rate.per_second == 0.0
    for second in range(1, 101):
        clock(second)
        rate.add(1000)
    assert rate.per_second == pytest.approx(1000)
    clock(400)  # an evaluation
    rate.skip()
    clock(401)
    rate.add(1000)
    assert rate.per_second == pytest.approx(1000)
    clock(402)
    rate.add(16_000)  # one step that is far off
    assert 1000 < rate.per_second < 1800
    for second in range(403, 463):
        clock(second)
        rate.add(2000)
    assert rate.per_second == pytest.approx(2000, rel=0.05)
