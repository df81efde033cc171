"""From the inputs of a request to its answers: what is served, checks, and the time that it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.recipes.finetuning import DataSection
from llmkit.serving.engine import Engine
from llmkit.serving.limits import Limits, characters_of
from llmkit.serving.reasons import Reasons, Why
from llmkit.serving.refusals import Refused, too_late, too_long
from llmkit.tasks.base import Task
from llmkit.tasks.columns import Columns
from llmkit.tasks.served import Input, Output
from llmkit.tasks.values import BadRow, Prediction

LONG = 20_000  # characters, above which a text is checked aside, so that others are heard meanwhile
Read = Callable[[Columns], Sequence[Prediction]]


@dataclass(frozen=True)
class Subject:
    """The model that is served.

    name      what to call it
    task      what it was fine-tuned for, with its `data`
    runs_on   what computes it, in words
    read      (examples) → predictions
    reasons   explains predictions; or why nothing does
    """

    name: str
    task: Task[Any]
    data: DataSection
    runs_on: str
    read: Read
    reasons: Reasons | str


class Predicting:
    """Turns inputs into answers: checks them, waits for the engine, and gives up in time."""

    def __init__(self, subject: Subject, limits: Limits, engine: Engine) -> None:
        self._task, self._data, self._limits, self._engine = subject.task, subject.data, limits, engine
        self._served = subject.task.served(subject.data)

    async def _checked(self, inputs: Sequence[Input], names: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
        """The inputs in canonical columns, and their characters. Raises Refused."""
        characters = characters_of([each.model_dump() for each in inputs])
        if characters > self._limits.characters:
            raise too_long(characters, self._limits)
        if characters > LONG:
            return await asyncio.to_thread(self._examples, inputs, names), characters
        return self._examples(inputs, names), characters

    def _examples(self, inputs: Sequence[Input], names: Sequence[str]) -> list[dict[str, Any]]:
        found, problems = [], []
        for number, (given, name) in enumerate(zip(inputs, names, strict=True)):
            try:
                example = self._task.example(self._served.row(given), self._data, labelled=False)
                found.append({**example, "id": str(number)})
            except BadRow as problem:
                problems.append(f"{name}{problem}")
        if problems:
            raise Refused(422, *problems, remedy="correct the text")
        return found

    async def __call__(self, inputs: Sequence[Input], names: Sequence[str]) -> list[Output]:
        """One answer per input. Raises Refused."""
        examples, characters = await self._checked(inputs, names)
        try:
            async with asyncio.timeout(self._limits.seconds):
                predictions = await self._engine.answer(examples, characters)
        except TimeoutError:
            raise too_late(self._limits) from None
        answers = zip(predictions, examples, strict=True)
        return [self._served.answer(prediction, example) for prediction, example in answers]

    async def why(self, given: Input, reasons: Reasons) -> Why:
        """What explains the answer to an input. Raises Refused."""
        (example,), _ = await self._checked([given], [""])
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await reasons(example)
        except TimeoutError:
            raise too_late(self._limits) from None
