"""Explanations of single predictions, one at a time, beside the thread that predicts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, Field

from llmkit.serving.engine import bug
from llmkit.serving.refusals import Refused
from llmkit.system.errors import UserError

WAITING = 4  # explanations: each takes as long as a hundred predictions


class Weight(BaseModel):
    """A word: the characters `start` to `end` of the text with this number."""

    text: int
    start: int
    end: int
    weight: float = Field(description="How much it adds to the explained number.")


class TextOf(BaseModel):
    """A text that the model read."""

    name: str
    text: str


class Why(BaseModel):
    """Which words carry an answer."""

    answer: str
    explained: str = Field(description="The number that is explained, in words.")
    texts: list[TextOf]
    words: list[Weight]
    error: float = Field(description="By how much the weights fail to add up, as a share of them.")


class Reasons:
    """Runs `explain`, (an example in canonical columns) → the fields of Why, in a thread of its own."""

    def __init__(self, explain: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._explain = explain
        self._thread = ThreadPoolExecutor(1, "reasons")
        self._waiting = 0

    async def __call__(self, example: Mapping[str, Any]) -> Why:
        """Why the prediction for this example is what it is. Raises Refused."""
        if self._waiting >= WAITING:
            raise Refused(503, "other explanations are waiting", remedy="try again in 10 s", retry_after=10)
        self._waiting += 1
        task = asyncio.get_running_loop().run_in_executor(self._thread, self._explain, example)
        task.add_done_callback(lambda _: self._leave())
        try:
            return Why.model_validate(await task)
        except UserError as error:
            raise Refused(422, *error.problems, remedy=error.remedy) from None
        except asyncio.CancelledError:
            raise
        except Exception as error:  # hides nothing: it is the answer to its request
            raise bug(error) from None

    def _leave(self) -> None:
        self._waiting -= 1
