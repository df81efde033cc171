"""The thread that runs the model: what it reads together, and whose error is whose."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi")

from llmkit.serving import engine as story
from llmkit.serving.engine import Engine
from llmkit.serving.measured import Measured
from llmkit.serving.refusals import Refused
from llmkit.system.errors import UserError
from llmkit.system.out_of_memory import OutOfMemory
from llmkit.tasks.values import Prediction

Examples = Sequence[Mapping[str, Any]]


def echo(examples: Examples) -> list[Prediction]:
    return [Prediction("0", example["text"], 1.0) for example in examples]


def ask_all(answer: Any, texts: Sequence[str], **sizes: int) -> list[Any]:
    """What each of these texts gets when they are asked at once: an answer's text, or an error."""

    async def asked() -> list[Any]:
        engine = Engine(answer, Measured())
        calls = [engine.answer([{"text": text}], sizes.get(text, len(text))) for text in texts]
        waiting = [asyncio.ensure_future(call) for call in calls]
        await asyncio.sleep(0)  # all of them are in the queue before it starts
        engine.start()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.to_thread(engine.stop)
        assert not engine.alive
        return [each if isinstance(each, Exception) else each[0].text for each in found]

    return asyncio.run(asked())


def test_what_waits_is_read_together_in_order_of_arrival() -> None:
    turns = []

    def noted(examples: Examples) -> list[Prediction]:
        turns.append([example["text"] for example in examples])
        return echo(examples)

    assert ask_all(noted, list("0abcdef"), c=story.TURN, d=10, e=story.TURN - 10) == list("0abcdef")
    assert turns == [["0"], ["a", "b"], ["c"], ["d", "e"], ["f"]], "the first alone, which shows the speed"


def test_a_slow_model_reads_what_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic() + 60  # after all of them have arrived
    ends, costs = list[float](), {"first": 3.0}  # seconds; the first one loads something

    def slow(examples: Examples) -> list[Prediction]:
        nonlocal now
        now += sum(costs.get(example["text"], 0.24) for example in examples)
        ends.append(now)
        return echo(examples)

    monkeypatch.setattr(story, "time", SimpleNamespace(monotonic=lambda: now))
    texts = ["first", *map(str, range(20))]
    assert ask_all(slow, texts, **dict.fromkeys(texts, 100)) == texts
    took = [round((after - before) / 0.24) for before, after in pairwise(ends)]
    assert took == [1, 1, 1, 2, 3, 3, 4, 4, 1]


def test_an_error_is_only_of_the_text_that_causes_it(capsys: pytest.CaptureFixture[str]) -> None:
    def picky(examples: Examples) -> list[Prediction]:
        for example in examples:
            if example["text"] == "long":
                raise UserError("too long", remedy="shorten it")
            if example["text"] == "large":
                raise OutOfMemory("in a test", MemoryError(), {})
            if example["text"] == "bug":
                raise ZeroDivisionError
        return echo(examples)

    found = ask_all(picky, ["a", "long", "b", "bug", "large", "c"])
    assert [found[number] for number in (0, 2, 5)] == ["a", "b", "c"]
    statuses = [each.status for each in found if isinstance(each, Refused)]
    assert statuses == [422, 500, 413]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_request_that_was_given_up_is_not_read() -> None:
    read: list[str] = []
    began, go = threading.Event(), threading.Event()

    def slow(examples: Examples) -> list[Prediction]:
        read.extend(example["text"] for example in examples)
        began.set()
        go.wait(30)
        return echo(examples)

    async def asked() -> None:
        engine = Engine(slow, Measured())
        engine.start()
        first = asyncio.ensure_future(engine.answer([{"text": "first"}], 5))
        await asyncio.to_thread(began.wait, 30)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await engine.answer([{"text": "given up"}], 8)
        last = asyncio.ensure_future(engine.answer([{"text": "last"}], 4))
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, last)
        await asyncio.to_thread(engine.stop)

    asyncio.run(asked())
    assert read == ["first", "last"]


def test_it_stops_after_it_has_answered_what_waits() -> None:
    async def asked() -> list[Any]:
        engine = Engine(echo, Measured())
        waiting = [asyncio.ensure_future(engine.answer([{"text": str(n)}], 1)) for n in range(50)]
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(asyncio.to_thread(engine.stop)) if engine.start() is None else None
        found = await asyncio.gather(*waiting)
        assert stopping is not None
        await stopping
        return [each[0].text for each in found]

    assert asyncio.run(asked()) == [str(n) for n in range(50)]
